package devices

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/status"
)

// writeStatus writes what is to be said of a device now, if that is not what its
// CR says.
func (c *Controller) writeStatus(ctx context.Context, cr *v1alpha1.Device, dev kube.Device, conflicts []v1alpha1.LabelConflict) (time.Duration, error) {
	var s v1alpha1.DeviceStatus
	there := false
	c.options.Do(func(state *decide.State) {
		d := state.View().Devices[dev.ID]
		if there = d != nil; there {
			s = status.Device(status.Devices{
				Log: d, Generation: cr.Generation, Reported: kube.Reported(dev.Reported), Conflicts: conflicts, Failed: state.DeviceFailure(dev.ID), Previous: cr.Status,
			}, c.options.Now().Truncate(time.Second)) // as the API keeps times
		}
	})
	if !there {
		return 0, nil
	}
	again := time.Duration(0)
	if meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionDuplicateIdentity) {
		again = duplicateCheck
	}
	if equality.Semantic.DeepEqual(s, cr.Status) {
		return again, nil
	}
	c.mu.Lock()
	replace := c.foreign[cr.Name]
	c.mu.Unlock()
	answer, err := c.send(ctx, cr, s, replace)
	c.options.Patched()
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return time.Second, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write the status of Device %s: %w", dev.ID, err)
	}
	c.remember(answer)
	left := !replace && !equality.Semantic.DeepEqual(s, answer.Status)
	c.mu.Lock()
	if delete(c.foreign, cr.Name); left {
		c.foreign[cr.Name] = true
	}
	c.mu.Unlock()
	if left {
		return time.Second, nil
	}
	return again, nil
}

// send applies a status. An apply leaves the fields that others wrote and that this
// status does not have; replace takes those away as well.
func (c *Controller) send(ctx context.Context, cr *v1alpha1.Device, s v1alpha1.DeviceStatus, replace bool) (*v1alpha1.Device, error) {
	client := c.options.Client.FleetV1alpha1().Devices()
	if replace {
		whole := cr.DeepCopy()
		whole.Status, whole.ManagedFields = s, nil
		return client.UpdateStatus(ctx, whole, metav1.UpdateOptions{FieldManager: kube.FieldManager})
	}
	b, err := kube.Encode(statusPatch{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Device",
		Metadata: statusMetadata{Name: cr.Name, UID: cr.UID}, Status: s,
	})
	if err != nil {
		return nil, err
	}
	force := true
	return client.Patch(ctx, cr.Name, types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: kube.FieldManager, Force: &force}, "status")
}

type statusPatch struct {
	APIVersion string                `json:"apiVersion"`
	Kind       string                `json:"kind"`
	Metadata   statusMetadata        `json:"metadata"`
	Status     v1alpha1.DeviceStatus `json:"status"`
}

type statusMetadata struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
}
