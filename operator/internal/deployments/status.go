package deployments

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
)

// writeStatus writes the status that a Deployment should have now, where it has
// another.
func (c *Controller) writeStatus(ctx context.Context, key fleet.Key) (time.Duration, error) {
	d, err := c.lister.Deployments(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	d = c.writes.Newest(nameOf(key), d)
	s, known := c.status(d)
	if !known || equality.Semantic.DeepEqual(s, d.Status) {
		return 0, nil
	}
	began := c.options.Now()
	replaced, left, err := c.writes.WriteStatus(ctx, d, s)
	c.options.Patched()
	if c.options.Written != nil {
		c.options.Written(key, began, c.options.Now(), err)
	}
	switch {
	case apierrors.IsConflict(err) && replaced:
		return time.Second, nil // it changed meanwhile: look again
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return 0, nil // it went, or is another of the same name: its own event will come
	case err != nil:
		return 0, fmt.Errorf("write the status of Deployment %s: %w", key, err)
	}
	c.warnOfUnknownFields(d, s)
	if left {
		return time.Second, nil
	}
	if d.Status.ObservedGeneration != s.ObservedGeneration {
		return time.Millisecond, nil // that said Unknown; next comes what is known
	}
	return 0, nil
}

// warnOfUnknownFields writes an Event about fields that this version does not know,
// once for each message.
func (c *Controller) warnOfUnknownFields(d *v1alpha1.Deployment, s v1alpha1.DeploymentStatus) {
	before := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionUnknownFields)
	now := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionUnknownFields)
	if now == nil || before != nil && before.Message == now.Message {
		return
	}
	c.options.Events.WarnOf(referenceOf(d), ReasonUnknownFields, "Read", now.Message)
}

// now is in whole seconds, as the API keeps times: what it answers then equals what
// it was sent.
func (c *Controller) now() time.Time { return c.options.Now().Truncate(time.Second) }

// status computes the CR's status. known is false until the CR has our finalizer and
// has been decided once, except for a new generation, which is reported as Unknown at
// once, and while the log is full.
func (c *Controller) status(d *v1alpha1.Deployment) (s v1alpha1.DeploymentStatus, known bool) {
	c.mu.Lock()
	notices := c.notices
	c.mu.Unlock()
	in := status.Deployments{ClusterMismatch: notices.mismatch, LogFull: notices.full, LogReserve: notices.reserve, Previous: d.Status}
	if notices.mismatch != "" {
		in.Spec = decide.SpecOf(d)
		return status.Deployment(in, c.now()), true
	}
	key := keyOf(d)
	c.options.Do(func(state *decide.State) {
		if in.Spec, known = state.Deployment(key); !known {
			if known = notices.full != ""; !known {
				return
			}
			in.Spec = decide.SpecOf(d)
		}
		failure := state.Failure(key)
		if failure == nil && !state.Decided(key) && in.Spec.Generation == d.Status.ObservedGeneration && notices.full == "" {
			known = false
			return
		}
		if in.Spec.Problem == nil {
			in.Spec.Problem = failure
		}
		in.Log = state.View().Deployments[key]
		in.Placed, in.Progress = state.Placed(key), state.Progress(key)
		in.Holder, in.Conflicted = state.Conflict(key)
		s = status.Deployment(in, c.now())
	})
	return s, known
}
