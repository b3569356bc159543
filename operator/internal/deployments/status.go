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
	c.mu.Lock()
	replace := c.foreign[key]
	c.mu.Unlock()
	answer, err := c.send(ctx, d, s, replace)
	c.options.Patched()
	switch {
	case apierrors.IsConflict(err) && replace:
		return time.Second, nil // it changed meanwhile: look again
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return 0, nil // it went, or is another of the same name: its own event will come
	case err != nil:
		return 0, fmt.Errorf("write the status of Deployment %s: %w", key, err)
	}
	left := !replace && !equality.Semantic.DeepEqual(s, answer.Status)
	c.mu.Lock()
	answer.ManagedFields = nil
	c.written[key] = answer
	if delete(c.foreign, key); left {
		c.foreign[key] = true
	}
	c.mu.Unlock()
	c.tellUnknown(d, s)
	if left {
		return time.Second, nil
	}
	if d.Status.ObservedGeneration != s.ObservedGeneration {
		return time.Millisecond, nil // that said Unknown; next comes what is known
	}
	return 0, nil
}

// tellUnknown tells of fields that this version does not know, once for each message.
func (c *Controller) tellUnknown(d *v1alpha1.Deployment, s v1alpha1.DeploymentStatus) {
	before := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionUnknownFields)
	now := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionUnknownFields)
	if now != nil && (before == nil || before.Message != now.Message) {
		c.options.Unknown(d, now.Message)
	}
}

// send applies a status. An apply leaves the fields that others wrote and that this
// status does not have; replace takes those away as well.
func (c *Controller) send(ctx context.Context, d *v1alpha1.Deployment, s v1alpha1.DeploymentStatus, replace bool) (*v1alpha1.Deployment, error) {
	client := c.options.Client.FleetV1alpha1().Deployments(d.Namespace)
	if replace {
		whole := d.DeepCopy()
		whole.Status, whole.ManagedFields = s, nil
		return client.UpdateStatus(ctx, whole, metav1.UpdateOptions{FieldManager: kube.FieldManager})
	}
	b, err := kube.Encode(statusPatch{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment",
		Metadata: statusMetadata{Name: d.Name, Namespace: d.Namespace, UID: d.UID}, Status: s,
	})
	if err != nil {
		return nil, err
	}
	force := true
	return client.Patch(ctx, d.Name, types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: kube.FieldManager, Force: &force}, "status")
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

// ours says whether a version of a CR is what the API answered to our last patch.
func (c *Controller) ours(key fleet.Key, d *v1alpha1.Deployment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.written[key]
	return w != nil && w.UID == d.UID && w.ResourceVersion == d.ResourceVersion
}

// now is in whole seconds, as the API keeps times: what it answers then equals what
// it was sent.
func (c *Controller) now() time.Time { return c.options.Now().Truncate(time.Second) }

// status makes what is to be said. known is false while a CR waits for its
// finalizer, or for its turn to be decided about, but for a generation that the
// status does not speak of yet: nothing has been looked at, unless nothing will be.
func (c *Controller) status(d *v1alpha1.Deployment) (s v1alpha1.DeploymentStatus, known bool) {
	c.mu.Lock()
	says := c.notices
	c.mu.Unlock()
	in := status.Deployments{ClusterMismatch: says.mismatch, LogFull: says.full, LogReserve: says.reserve, Previous: d.Status}
	if says.mismatch != "" {
		in.Spec = decide.SpecOf(d)
		return status.Deployment(in, c.now()), true
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
		s = status.Deployment(in, c.now())
	})
	return s, known
}
