package deployments

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"

	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/projections/fleet"
)

const guardWorkers = 4

// guard asks for a CR's finalizer to be looked at.
func (c *Controller) guard(key fleet.Key) {
	if q := c.guards.Load(); q != nil {
		(*q).Add(key)
	}
}

// guardAll puts finalizers on and takes them off until the context ends.
func (c *Controller) guardAll(ctx context.Context, begun func()) {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[fleet.Key](20*time.Millisecond, 30*time.Second))
	c.guards.Store(&queue)
	end := func() { c.guards.Store(nil); queue.ShutDown() }
	defer context.AfterFunc(ctx, end)()
	begun()
	var workers sync.WaitGroup
	for range guardWorkers {
		workers.Go(func() {
			for {
				key, down := queue.Get()
				if down {
					return
				}
				c.guardOne(ctx, queue, key)
				queue.Done(key)
			}
		})
	}
	workers.Wait()
}

func (c *Controller) guardOne(ctx context.Context, queue workqueue.TypedRateLimitingInterface[fleet.Key], key fleet.Key) {
	err := c.setGuard(ctx, key)
	switch {
	case err == nil || ctx.Err() != nil || apierrors.IsNotFound(err):
		queue.Forget(key)
	case apierrors.IsConflict(err):
		queue.AddRateLimited(key) // the cache lags behind the API
	default:
		c.options.Logger.Warn("finalizer not changed; will be tried again", "deployment", key, "error", err)
		queue.AddRateLimited(key)
	}
}

// setGuard puts our finalizer on a CR that lives, and takes it off one that is
// being deleted once the log says that it ended and is withdrawn from every
// device. It waits for the log, not for the devices.
func (c *Controller) setGuard(ctx context.Context, key fleet.Key) error {
	d, err := c.lister.Deployments(key.Namespace).Get(key.Name)
	if err != nil {
		return err
	}
	switch guarded := kube.Guarded(d); {
	case d.DeletionTimestamp == nil && !guarded:
		return kube.Guard(ctx, c.options.Client, d)
	case d.DeletionTimestamp != nil && guarded:
		ended := false
		c.options.Do(func(s *decide.State) { ended = s.Ended(key) })
		if ended {
			return kube.Release(ctx, c.options.Client, d)
		}
	}
	return nil
}
