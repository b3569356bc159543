package deployments

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/projections/fleet"
)

// finalizerWorkers is how many finalizers are changed at a time.
const finalizerWorkers = 4

func hasFinalizer(d *v1alpha1.Deployment) bool {
	return kube.HasFinalizer(d, v1alpha1.FinalizerWithdraw)
}

// queueFinalizer asks for a CR's finalizer to be looked at.
func (c *Controller) queueFinalizer(key fleet.Key) {
	if q := c.finalizers.Load(); q != nil {
		(*q).Add(key)
	}
}

// setFinalizers puts finalizers on and takes them off until the context ends.
func (c *Controller) setFinalizers(ctx context.Context, onReady func()) {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[fleet.Key](20*time.Millisecond, 30*time.Second))
	c.finalizers.Store(&queue)
	end := func() { c.finalizers.Store(nil); queue.ShutDown() }
	defer context.AfterFunc(ctx, end)()
	onReady()
	var workers sync.WaitGroup
	for range finalizerWorkers {
		workers.Go(func() {
			for {
				key, down := queue.Get()
				if down {
					return
				}
				c.setOne(ctx, queue, key)
				queue.Done(key)
			}
		})
	}
	workers.Wait()
}

func (c *Controller) setOne(ctx context.Context, queue workqueue.TypedRateLimitingInterface[fleet.Key], key fleet.Key) {
	err := c.setFinalizer(ctx, key)
	switch {
	case err == nil || ctx.Err() != nil || apierrors.IsNotFound(err):
		queue.Forget(key)
	case apierrors.IsConflict(err):
		queue.AddRateLimited(key) // the cache lags behind the API
	default:
		c.options.Logger.Warn("cannot change the finalizer of a Deployment; will retry", "deployment", key, "error", err)
		queue.AddRateLimited(key)
	}
}

// setFinalizer puts our finalizer on a CR that lives, and takes it off one that is
// being deleted once the log says that it ended and is withdrawn from every
// device. It waits for the log, not for the devices.
func (c *Controller) setFinalizer(ctx context.Context, key fleet.Key) error {
	d, err := c.lister.Deployments(key.Namespace).Get(key.Name)
	if err != nil {
		return err
	}
	client := c.options.Client.FleetV1alpha1().Deployments(d.Namespace)
	switch has := hasFinalizer(d); {
	case d.DeletionTimestamp == nil && !has:
		return kube.AddFinalizer(ctx, client, d, v1alpha1.FinalizerWithdraw)
	case d.DeletionTimestamp != nil && has:
		ended := false
		c.options.Do(func(s *decide.State) { ended = s.Ended(key) })
		if ended {
			return kube.RemoveFinalizer(ctx, client, d, v1alpha1.FinalizerWithdraw)
		}
	}
	return nil
}
