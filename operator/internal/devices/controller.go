// Package devices is the shell around the Device CRs: they show what the log
// knows of each device, and the labels on them go into the state that decisions
// look at.
package devices

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/client/informers/externalversions"
	listers "fleet.nationtech.io/crds/client/listers/crds/v1alpha1"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/internal/statuswriter"
)

const (
	// writers is how many Devices are written at a time.
	writers = 12
	// duplicateCheck is how often a Device is looked at whose condition goes
	// away by time alone.
	duplicateCheck = time.Minute
)

// Options wire a Controller.
type Options struct {
	Client versioned.Interface
	Labels kube.LabelSource
	// Do runs with the state that decisions look at.
	Do func(func(*decide.State))
	// Decide asks for a decision about a device.
	Decide func(id string)
	// Patched counts each write.
	Patched func()
	Events  Events
	// ClearPulse takes a decommissioned device's last pulse out of its bucket.
	ClearPulse func(ctx context.Context, id string) error
	Now        func() time.Time
	Logger     *slog.Logger
}

// Events writes a Kubernetes Event in the operator's namespace, which names another
// object.
type Events interface {
	Warn(reason, action, note string, related *corev1.ObjectReference)
}

// ReasonDeviceReturns is the reason of the Event about a Device that was deleted and
// that the operator makes again, because the device is still of the fleet.
const ReasonDeviceReturns = "DeviceReturns"

// Controller watches the Devices of a cluster. The watching goes on in every
// replica; only one that leads writes.
type Controller struct {
	options  Options
	devices  kube.Devices
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration
	lister   listers.DeviceLister
	writer   *statuswriter.Writer[string]
	writes   *kube.WriteCache[*v1alpha1.Device, v1alpha1.DeviceStatus]
}

// New wires a controller into a factory that the caller starts.
func New(factory externalversions.SharedInformerFactory, o Options) (*Controller, error) {
	devices := factory.Fleet().V1alpha1().Devices()
	c := &Controller{
		options: o, devices: kube.Devices{Client: o.Client, Source: o.Labels},
		informer: devices.Informer(), lister: devices.Lister(),
	}
	c.writes = kube.NewWriteCache(kube.Kind[*v1alpha1.Device, v1alpha1.DeviceStatus]{
		Name:   "Device",
		Client: func(string) kube.StatusClient[*v1alpha1.Device] { return o.Client.FleetV1alpha1().Devices() },
		Status: func(d *v1alpha1.Device) v1alpha1.DeviceStatus { return d.Status },
		WithStatus: func(d *v1alpha1.Device, s v1alpha1.DeviceStatus) *v1alpha1.Device {
			d = d.DeepCopy()
			d.Status = s
			return d
		},
	})
	c.writer = statuswriter.New(time.Second, writers, c.write, o.Logger)
	var err error
	c.handler, err = c.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { c.seen(nil, o.(*v1alpha1.Device)) },
		UpdateFunc: func(before, o any) { c.seen(before.(*v1alpha1.Device), o.(*v1alpha1.Device)) },
		DeleteFunc: c.gone,
	})
	if err != nil {
		return nil, fmt.Errorf("watch Devices: %w", err)
	}
	return c, nil
}

// Synced says whether all that the API showed at first has been seen.
func (c *Controller) Synced() bool { return c.handler.HasSynced() }

// seen takes a Device's labels into the state, unless the operator has not put
// its own on it yet: then others made it, of the labels that persons set, and
// those that the device reports are still to come. To decide without them would
// take Deployments off the device.
func (c *Controller) seen(before, d *v1alpha1.Device) {
	ours := c.writes.Ours(d)
	c.writes.Newest(nameOf(d.Name), d) // forgets our own write once the watch has shown it
	if d.DeletionTimestamp != nil {
		c.ending(d)
		return
	}
	if d.Labels[v1alpha1.LabelDevice] != d.Name {
		c.writer.Mark(d.Name)
		return
	}
	owned, err := kube.Effective(d)
	if err != nil {
		c.options.Logger.Error("cannot read the labels of a Device; it keeps the labels that it had", "device", d.Name, "error", err)
		return
	}
	changed := false
	c.options.Do(func(s *decide.State) { changed = s.SetDevice(d.Name, owned) })
	if changed {
		c.options.Decide(d.Name)
	}
	// A status that somebody else wrote is set right.
	foreign := !ours && before != nil && !equality.Semantic.DeepEqual(before.Status, d.Status)
	if changed || before == nil || before.Generation != d.Generation || foreign {
		c.writer.Mark(d.Name)
	}
}

// gone takes a Device out of the state; the log still knows it, so it is made
// again.
func (c *Controller) gone(o any) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	d, ok := o.(*v1alpha1.Device)
	if !ok {
		return
	}
	c.writes.Gone(nameOf(d.Name))
	c.options.Do(func(s *decide.State) { s.RemoveDevice(d.Name) })
	c.writer.Mark(d.Name)
}

func nameOf(id string) types.NamespacedName { return types.NamespacedName{Name: id} }

// Changed is told which devices the log changed. One that was decommissioned leaves
// the state: allowed again, it begins with a new Device.
func (c *Controller) Changed(ids []string) {
	c.options.Do(func(s *decide.State) {
		for _, id := range ids {
			if d := s.View().Devices[id]; d != nil && d.Decommissioned {
				s.RemoveDevice(id)
			}
		}
	})
	for _, id := range ids {
		c.writer.Mark(id)
	}
}

// Names lists the Devices that the API shows.
func (c *Controller) Names() []string { return c.informer.GetStore().ListKeys() }

// Lead writes until the context ends. onReady is called once changes count.
func (c *Controller) Lead(ctx context.Context, onReady func()) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { c.watchKeys(ctx) })
	c.writer.Run(ctx, onReady)
}

// standing is what the log says of a device.
type standing int

const (
	unknown standing = iota // no device of the fleet: it should have no CR, and one that is there is not ours
	present
	leaving // a person asked to decommission it
	left    // decommissioned: it shall have no CR
)

// known is what the log knows of a device that its CR shows.
func (c *Controller) known(id string) (dev kube.Device, at standing) {
	if eventlog.CheckName("device", id) != nil {
		return dev, unknown
	}
	c.options.Do(func(s *decide.State) {
		d := s.View().Devices[id]
		switch {
		case d == nil:
			return
		case d.Decommissioned:
			at = left
			return
		case d.Info == nil && !d.Registered:
			return
		case d.Leaving != nil:
			at = leaving
		default:
			at = present
		}
		dev = kube.Device{ID: id, Remembered: d.Labels}
		if d.Info != nil { // replaced by Apply, never changed: safe to look at later
			dev.Inventory, dev.Reported = &d.Info.Inventory, d.Info.Labels
		}
	})
	return dev, at
}

// write makes a Device's CR, labels and status what the log says.
func (c *Controller) write(ctx context.Context, id string) (time.Duration, error) {
	dev, standing := c.known(id)
	cr, err := c.lister.Get(id)
	if apierrors.IsNotFound(err) {
		cr = nil
	} else if err != nil {
		return 0, err
	}
	lagging := cr == nil
	cr = c.writes.Newest(nameOf(id), cr)
	lagging = lagging && cr != nil
	switch {
	case cr != nil && cr.DeletionTimestamp != nil:
		return c.end(ctx, cr, standing)
	case standing == left:
		return c.remove(ctx, id, cr)
	case standing == unknown, standing == leaving && cr == nil:
		return 0, nil
	}
	cr, conflicts, wrote, err := c.devices.Reflect(ctx, cr, dev)
	if wrote {
		c.options.Patched()
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return time.Second, nil // it changed under our hands: look again
	}
	if err != nil {
		return 0, err
	}
	if wrote {
		c.writes.Remember(cr)
	}
	again, err := c.writeStatus(ctx, cr, dev, conflicts)
	if lagging && again == 0 {
		again = time.Second // or it was deleted, and is to be made again
	}
	return again, err
}
