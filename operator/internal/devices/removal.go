package devices

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/kube"
)

// lookAgain is when a Device is looked at again that the API has not shown yet as
// it is.
const lookAgain = time.Second

// decommissions says whether the deletion of a Device takes the device out of the
// fleet.
func decommissions(d *v1alpha1.Device) bool {
	return d.Annotations[v1alpha1.AnnotationOnDelete] == v1alpha1.OnDeleteDecommission && eventlog.CheckName("device", d.Name) == nil
}

// ending is told of a Device that is being deleted. Until it is gone its labels
// select as before.
func (c *Controller) ending(d *v1alpha1.Device) {
	changed := false
	c.options.Do(func(s *decide.State) { changed = s.SetLeaving(d.Name, decommissions(d) && hasFinalizer(d)) })
	if changed {
		c.options.Decide(d.Name)
	}
	c.writer.Mark(d.Name)
}

// end lets a Device that is being deleted go. Where its deletion takes the device
// out of the fleet, the log has to say so first; else the Device is made again
// once it is gone.
func (c *Controller) end(ctx context.Context, cr *v1alpha1.Device, at standing) (time.Duration, error) {
	if !hasFinalizer(cr) || decommissions(cr) && at != left {
		return 0, nil
	}
	err := kube.RemoveFinalizer(ctx, c.options.Client.FleetV1alpha1().Devices(), cr, v1alpha1.FinalizerDevice)
	switch {
	case apierrors.IsNotFound(err):
		return 0, nil
	case apierrors.IsConflict(err):
		return lookAgain, nil // it changed under our hands
	case err != nil:
		return 0, err
	}
	c.options.Patched()
	if at == present {
		c.warnOfReturn(cr.Name)
	}
	return 0, nil
}

// remove takes away what is left of a device that was decommissioned: its CR and
// its heartbeat. The log says by now that it was.
func (c *Controller) remove(ctx context.Context, id string, cr *v1alpha1.Device) (time.Duration, error) {
	if err := c.options.ClearPulse(ctx, id); err != nil {
		return 0, err
	}
	if cr == nil {
		return 0, nil
	}
	c.writes.Forget(nameOf(id))
	err := c.options.Client.FleetV1alpha1().Devices().Delete(ctx, id, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(cr.UID))})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return lookAgain, nil
	case err != nil:
		return 0, fmt.Errorf("delete Device %s: %w", id, err)
	}
	c.options.Patched()
	return lookAgain, nil // its finalizer is to come off
}

func hasFinalizer(d *v1alpha1.Device) bool { return kube.HasFinalizer(d, v1alpha1.FinalizerDevice) }

// warnOfReturn says why a Device that was deleted is there again.
func (c *Controller) warnOfReturn(id string) {
	c.options.Logger.Info("a Device was deleted; the operator makes it again, because the device is still of the fleet", "device", id)
	c.options.Events.Warn(ReasonDeviceReturns, "Recreate", fmt.Sprintf(
		"Device %s was deleted. The operator makes it again, because the device is still of the fleet. To take the device out: fleetctl device decommission %s. "+
			"To have a deletion do so: kubectl annotate fleetdev %s %s=%s, then kubectl delete fleetdev %s",
		id, id, id, v1alpha1.AnnotationOnDelete, v1alpha1.OnDeleteDecommission, id),
		deviceRef(id))
}
