package devices

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/status"
)

// writeStatus writes the status that a Device should have now, where it has another.
func (c *Controller) writeStatus(ctx context.Context, cr *v1alpha1.Device, dev kube.Device, conflicts []v1alpha1.LabelConflict) (time.Duration, error) {
	var s v1alpha1.DeviceStatus
	there := false
	var turns time.Duration
	now := c.options.Now()
	c.options.Do(func(state *decide.State) {
		d := state.View().Devices[dev.ID]
		if there = d != nil; there {
			s = status.Device(status.Devices{
				Log: d, Generation: cr.Generation, Reported: kube.Reported(dev.Reported), Conflicts: conflicts, Failed: state.DeviceFailure(dev.ID), Previous: cr.Status,
			}, now.Truncate(time.Second)) // as the API keeps times
			turns = keyTurns(d, now)
		}
	})
	if !there {
		return 0, nil
	}
	again := turns
	duplicate := meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionDuplicateIdentity)
	if duplicate && (again == 0 || again > duplicateCheck) {
		again = duplicateCheck
	}
	if equality.Semantic.DeepEqual(s, cr.Status) {
		return again, nil
	}
	_, left, err := c.writes.WriteStatus(ctx, cr, s)
	c.options.Patched()
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return time.Second, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write the status of Device %s: %w", dev.ID, err)
	}
	if duplicate && !meta.IsStatusConditionTrue(cr.Status.Conditions, v1alpha1.ConditionDuplicateIdentity) {
		c.warnOfDuplicate(dev.ID)
	}
	if left {
		return time.Second, nil
	}
	return again, nil
}

// warnOfDuplicate says that two machines report as one device. Neither is cut off: the
// operator cannot know which of them is the right one.
func (c *Controller) warnOfDuplicate(id string) {
	c.options.Logger.Warn("two machines report as one device", "device", id)
	c.options.Events.Warn(v1alpha1.ConditionDuplicateIdentity, "Observe", fmt.Sprintf(
		"Two machines report as device %s: an SD card was cloned, or a key was copied. Give one of them a device_id and a key of its own. "+
			"If the key was stolen: fleetctl device revoke %s", id, id), deviceRef(id))
}

func deviceRef(id string) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Device", Name: id}
}
