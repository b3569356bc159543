package deployments

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
)

// writeStatus writes what is to be said of a Deployment now, if that is not what
// it says.
func (c *Controller) writeStatus(ctx context.Context, key fleet.Key) (time.Duration, error) {
	d, err := c.lister.Deployments(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	d = c.newest(key, d)
	s, known := c.status(d)
	if !known || equality.Semantic.DeepEqual(s, d.Status) {
		return 0, nil
	}
	b, err := kube.Encode(statusPatch{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment",
		Metadata: statusMetadata{Name: d.Name, Namespace: d.Namespace, UID: d.UID}, Status: s,
	})
	if err != nil {
		return 0, fmt.Errorf("encode the status of Deployment %s: %w", key, err)
	}
	force := true
	answer, err := c.options.Client.FleetV1alpha1().Deployments(d.Namespace).Patch(ctx, d.Name, types.ApplyPatchType, b,
		metav1.PatchOptions{FieldManager: kube.FieldManager, Force: &force}, "status")
	c.options.Patched()
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return 0, nil // it went, or is another of the same name: its own event will come
	}
	if err != nil {
		return 0, fmt.Errorf("apply the status of Deployment %s: %w", key, err)
	}
	c.mu.Lock()
	answer.ManagedFields = nil
	c.written[key] = answer
	c.mu.Unlock()
	before, now := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionUnknownFields), meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionUnknownFields)
	if now != nil && (before == nil || before.Message != now.Message) {
		c.options.Unknown(d, now.Message)
	}
	if d.Status.ObservedGeneration != s.ObservedGeneration {
		return time.Millisecond, nil // that said Unknown; next comes what is known
	}
	return 0, nil
}

type statusPatch struct {
	APIVersion string                    `json:"apiVersion"`
	Kind       string                    `json:"kind"`
	Metadata   statusMetadata            `json:"metadata"`
	Status     v1alpha1.DeploymentStatus `json:"status"`
}

type statusMetadata struct {
	Name      string    `json:"name"`
	Namespace string    `json:"namespace"`
	UID       types.UID `json:"uid"`
}

// newest is the later of what the watch showed and what the API answered to our
// own patch: the watch may lag, and must not make us say things twice.
func (c *Controller) newest(key fleet.Key, watched *v1alpha1.Deployment) *v1alpha1.Deployment {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.written[key]
	if !ok {
		return watched
	}
	if w.UID == watched.UID {
		if order, err := resourceversion.CompareResourceVersion(w.ResourceVersion, watched.ResourceVersion); err == nil && order > 0 {
			return w
		}
	}
	delete(c.written, key)
	return watched
}

// status makes what is to be said. known is false while a CR waits for its
// finalizer, or for its turn to be decided about, but for a generation that the
// status does not speak of yet: nothing has been looked at, unless nothing will be.
func (c *Controller) status(d *v1alpha1.Deployment) (s v1alpha1.DeploymentStatus, known bool) {
	c.mu.Lock()
	says := c.says
	c.mu.Unlock()
	in := status.Deployments{ClusterMismatch: says.mismatch, LogFull: says.full, LogReserve: says.reserve, Previous: d.Status}
	if says.mismatch != "" {
		in.Spec = decide.SpecOf(d)
		return status.Deployment(in, c.options.Now()), true
	}
	key := keyOf(d)
	c.options.Do(func(state *decide.State) {
		if in.Spec, known = state.Deployment(key); !known {
			if known = says.full != ""; !known {
				return
			}
			in.Spec = decide.SpecOf(d)
		}
		failure := state.Failure(key)
		if failure == nil && !state.Decided(key) && in.Spec.Generation == d.Status.ObservedGeneration && says.full == "" {
			known = false
			return
		}
		if in.Spec.Problem == nil {
			in.Spec.Problem = failure
		}
		in.Log = state.View().Deployments[key]
		in.Placed = state.Placed(key)
		in.Holder, in.Conflicted = state.Conflict(key)
		s = status.Deployment(in, c.options.Now())
	})
	return s, known
}
