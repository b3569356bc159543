// Package deployments is the shell around the Deployments' CRs: what the API
// shows of them goes into the state that decisions look at, and their finalizer
// and status follow the log.
package deployments

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/client/informers/externalversions"
	listers "fleet.nationtech.io/crds/client/listers/crds/v1alpha1"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/internal/statuswriter"
	"fleet.nationtech.io/projections/fleet"
)

// byName finds the Deployments that compete for a name.
const byName = "name"

// statusWriters is how many statuses are written at a time.
const statusWriters = 4

// Options wire a Controller.
type Options struct {
	Client versioned.Interface
	// Do runs with the state that decisions look at.
	Do func(func(*decide.State))
	// Decide asks for a decision about a Deployment.
	Decide func(fleet.Key)
	// Patched counts each status patch.
	Patched func()
	// Written is told how long a status write took, and how it ended. It must not wait.
	// nil: nobody is told.
	Written func(key fleet.Key, began, ended time.Time, err error)
	Events  Events
	Now     func() time.Time
	Logger  *slog.Logger
}

// Events writes a Kubernetes Event about an object.
type Events interface {
	WarnOf(object corev1.ObjectReference, reason, action, note string)
}

// ReasonUnknownFields is the reason of the Event about a Deployment whose score has
// fields that this version does not know.
const ReasonUnknownFields = "UnknownFields"

// Controller watches the Deployments of a cluster. The watching goes on in every
// replica; only one that leads writes.
type Controller struct {
	options  Options
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration
	lister   listers.DeploymentLister
	writer   *statuswriter.Writer[fleet.Key]

	finalizers atomic.Pointer[workqueue.TypedRateLimitingInterface[fleet.Key]] // nil while not leading

	writes *kube.WriteCache[*v1alpha1.Deployment, v1alpha1.DeploymentStatus]

	mu      sync.Mutex
	notices notices
}

// New wires a controller into a factory that the caller starts.
func New(factory externalversions.SharedInformerFactory, o Options) (*Controller, error) {
	deployments := factory.Fleet().V1alpha1().Deployments()
	c := &Controller{
		options: o, informer: deployments.Informer(), lister: deployments.Lister(),
	}
	c.writes = kube.NewWriteCache(kube.Kind[*v1alpha1.Deployment, v1alpha1.DeploymentStatus]{
		Name: "Deployment",
		Client: func(namespace string) kube.StatusClient[*v1alpha1.Deployment] {
			return o.Client.FleetV1alpha1().Deployments(namespace)
		},
		Status: func(d *v1alpha1.Deployment) v1alpha1.DeploymentStatus { return d.Status },
		WithStatus: func(d *v1alpha1.Deployment, s v1alpha1.DeploymentStatus) *v1alpha1.Deployment {
			d = d.DeepCopy()
			d.Status = s
			return d
		},
	})
	c.writer = statuswriter.New(time.Second, statusWriters, c.writeStatus, o.Logger)
	if err := c.informer.SetTransform(trimManagedFields); err != nil {
		return nil, fmt.Errorf("watch Deployments: %w", err)
	}
	err := c.informer.AddIndexers(cache.Indexers{byName: func(o any) ([]string, error) {
		d, ok := o.(*v1alpha1.Deployment)
		if !ok {
			return nil, nil
		}
		return []string{d.Name}, nil
	}})
	if err != nil {
		return nil, fmt.Errorf("watch Deployments: %w", err)
	}
	c.handler, err = c.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { c.seen(nil, o.(*v1alpha1.Deployment)) },
		UpdateFunc: func(before, o any) {
			c.seen(before.(*v1alpha1.Deployment), o.(*v1alpha1.Deployment))
		},
		DeleteFunc: c.gone,
	})
	if err != nil {
		return nil, fmt.Errorf("watch Deployments: %w", err)
	}
	return c, nil
}

// Synced says whether all that the API showed at first has been seen.
func (c *Controller) Synced() bool { return c.handler.HasSynced() }

// trimManagedFields keeps of a Deployment's managedFields only who changed what a decision
// names: whole, they are half of what it costs in memory.
func trimManagedFields(o any) (any, error) {
	if d, ok := o.(*v1alpha1.Deployment); ok {
		d.ManagedFields = decide.TrimManagedFields(d.ManagedFields)
	}
	return o, nil
}

func nameOf(key fleet.Key) types.NamespacedName {
	return types.NamespacedName{Namespace: key.Namespace, Name: key.Name}
}

func keyOf(d *v1alpha1.Deployment) fleet.Key { return fleet.Key{Namespace: d.Namespace, Name: d.Name} }

// seen takes a CR into the state, unless it is new and not guarded yet: nothing
// is assigned before our finalizer makes sure that its end will be seen.
func (c *Controller) seen(before, d *v1alpha1.Deployment) {
	key := keyOf(d)
	ours := c.writes.Ours(d)
	c.writes.Newest(nameOf(key), d) // forgets our own patch once the watch has shown it
	c.queueFinalizer(key)
	if before != nil && sameToDecide(before, d) {
		if !ours && !equality.Semantic.DeepEqual(before.Status, d.Status) {
			c.writer.Mark(key) // somebody else wrote the status: it is set right
		}
		return
	}
	decided := hasFinalizer(d) || d.DeletionTimestamp != nil
	if decided {
		spec := decide.SpecOf(d)
		c.options.Do(func(s *decide.State) { s.SetDeployment(spec) })
	}
	c.writer.Mark(key) // after that, so that it is what the status speaks of
	if decided {
		c.options.Decide(key)
	}
}

// sameToDecide says whether two versions of a CR differ in what no decision looks
// at, such as their status.
func sameToDecide(a, b *v1alpha1.Deployment) bool {
	return a.UID == b.UID && a.Generation == b.Generation && hasFinalizer(a) == hasFinalizer(b) &&
		sameAnnotations(a, b, decide.AnnotationChangeCause, v1alpha1.AnnotationAuthoredBy, v1alpha1.AnnotationPromote, v1alpha1.AnnotationPromotedBy) &&
		(a.DeletionTimestamp == nil) == (b.DeletionTimestamp == nil)
}

func sameAnnotations(a, b *v1alpha1.Deployment, keys ...string) bool {
	for _, key := range keys {
		if a.Annotations[key] != b.Annotations[key] {
			return false
		}
	}
	return true
}

func (c *Controller) gone(o any) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	d, ok := o.(*v1alpha1.Deployment)
	if !ok {
		return
	}
	key := keyOf(d)
	c.writes.Gone(nameOf(key))
	c.options.Do(func(s *decide.State) { s.RemoveDeployment(key) })
	c.options.Decide(key)
	c.rivals(key)
}

// AwaitingFinalizer says that a CR is there. One that the state does not have waits for its
// finalizer, or for its turn: the cache has it before seen is told.
func (c *Controller) AwaitingFinalizer(key fleet.Key) bool {
	_, err := c.lister.Deployments(key.Namespace).Get(key.Name)
	return err == nil
}

// Reference names a CR as an Event's object; false where the API does not show it.
func (c *Controller) Reference(key fleet.Key) (corev1.ObjectReference, bool) {
	d, err := c.lister.Deployments(key.Namespace).Get(key.Name)
	if err != nil {
		return corev1.ObjectReference{}, false
	}
	return referenceOf(d), true
}

func referenceOf(d *v1alpha1.Deployment) corev1.ObjectReference {
	return corev1.ObjectReference{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment", Namespace: d.Namespace, Name: d.Name, UID: d.UID,
	}
}

// Changed is told which Deployments the log changed.
func (c *Controller) Changed(keys []fleet.Key) {
	for _, key := range keys {
		c.writer.Mark(key)
		c.rivals(key)
	}
}

// Settled is told that nothing more is due of a Deployment.
func (c *Controller) Settled(key fleet.Key) {
	c.writer.Mark(key)
	if d, err := c.lister.Deployments(key.Namespace).Get(key.Name); err == nil && d.DeletionTimestamp != nil {
		c.queueFinalizer(key)
	}
}

// rivals marks the others of a name: a conflict may have come or gone.
func (c *Controller) rivals(key fleet.Key) {
	others, err := c.informer.GetIndexer().IndexKeys(byName, key.Name)
	if err != nil || len(others) < 2 {
		return
	}
	for _, k := range others {
		ns, name, err := cache.SplitMetaNamespaceKey(k)
		if err == nil && ns != key.Namespace {
			c.writer.Mark(fleet.Key{Namespace: ns, Name: name})
		}
	}
}

// all iterates over the keys of the CRs that the API shows.
func (c *Controller) all(yield func(fleet.Key) bool) {
	for _, o := range c.informer.GetStore().List() {
		if d, ok := o.(*v1alpha1.Deployment); ok && !yield(keyOf(d)) {
			return
		}
	}
}

// Keys lists the CRs that the API shows.
func (c *Controller) Keys() []fleet.Key {
	var keys []fleet.Key
	c.all(func(k fleet.Key) bool { keys = append(keys, k); return true })
	return keys
}

// Lead sets finalizers and writes statuses until the context ends. onReady is called
// once changes count.
func (c *Controller) Lead(ctx context.Context, onReady func()) {
	c.note(func(n *notices) { n.mismatch = "" })
	var workers sync.WaitGroup
	ready := make(chan struct{})
	workers.Go(func() {
		c.setFinalizers(ctx, func() { close(ready) })
	})
	<-ready
	workers.Go(func() {
		c.writer.Run(ctx, func() {
			c.all(func(k fleet.Key) bool { c.queueFinalizer(k); c.writer.Mark(k); return true })
			onReady()
		})
	})
	workers.Wait()
}
