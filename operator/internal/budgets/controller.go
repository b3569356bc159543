// Package budgets is the shell around the DisruptionBudgets: what the API shows of
// them goes into the state that decisions look at, and their status says how much of
// each is used.
package budgets

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/client/informers/externalversions"
	listers "fleet.nationtech.io/crds/client/listers/crds/v1alpha1"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/internal/statuswriter"
	"fleet.nationtech.io/operator/status"
)

// statusWriters is how many statuses are written at a time.
const statusWriters = 2

// Options wire a Controller.
type Options struct {
	Client versioned.Interface
	// Do runs with the state that decisions look at.
	Do func(func(*decide.State))
	// Decide asks for a decision about a DisruptionBudget.
	Decide func(name string)
	// Patched counts each status patch.
	Patched func()
	Now     func() time.Time
	Logger  *slog.Logger
}

// Controller watches the DisruptionBudgets of a cluster. The watching goes on in every
// replica; only one that leads writes.
type Controller struct {
	options  Options
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration
	lister   listers.DisruptionBudgetLister
	writer   *statuswriter.Writer[string]
	writes   *kube.WriteCache[*v1alpha1.DisruptionBudget, v1alpha1.DisruptionBudgetStatus]
}

// New wires a controller into a factory that the caller starts.
func New(factory externalversions.SharedInformerFactory, o Options) (*Controller, error) {
	budgets := factory.Fleet().V1alpha1().DisruptionBudgets()
	c := &Controller{options: o, informer: budgets.Informer(), lister: budgets.Lister()}
	c.writes = kube.NewWriteCache(kube.Kind[*v1alpha1.DisruptionBudget, v1alpha1.DisruptionBudgetStatus]{
		Name: "DisruptionBudget",
		Client: func(string) kube.StatusClient[*v1alpha1.DisruptionBudget] {
			return o.Client.FleetV1alpha1().DisruptionBudgets()
		},
		Status: func(b *v1alpha1.DisruptionBudget) v1alpha1.DisruptionBudgetStatus { return b.Status },
		WithStatus: func(b *v1alpha1.DisruptionBudget, s v1alpha1.DisruptionBudgetStatus) *v1alpha1.DisruptionBudget {
			b = b.DeepCopy()
			b.Status = s
			return b
		},
	})
	c.writer = statuswriter.New(time.Second, statusWriters, c.write, o.Logger)
	var err error
	c.handler, err = c.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { c.seen(nil, o.(*v1alpha1.DisruptionBudget)) },
		UpdateFunc: func(before, o any) {
			c.seen(before.(*v1alpha1.DisruptionBudget), o.(*v1alpha1.DisruptionBudget))
		},
		DeleteFunc: c.gone,
	})
	if err != nil {
		return nil, fmt.Errorf("watch DisruptionBudgets: %w", err)
	}
	return c, nil
}

// Synced says whether all that the API showed at first has been seen. Before, nothing
// may be decided: a budget that is not known yet would bind nothing.
func (c *Controller) Synced() bool { return c.handler.HasSynced() }

func nameOf(name string) types.NamespacedName { return types.NamespacedName{Name: name} }

// seen takes a CR into the state. One that is being deleted binds until it is gone.
func (c *Controller) seen(before, b *v1alpha1.DisruptionBudget) {
	ours := c.writes.Ours(b)
	c.writes.Newest(nameOf(b.Name), b) // forgets our own write once the watch has shown it
	if before != nil && before.UID == b.UID && before.Generation == b.Generation {
		if !ours && !equality.Semantic.DeepEqual(before.Status, b.Status) {
			c.writer.Mark(b.Name) // somebody else wrote the status: it is set right
		}
		return
	}
	spec := decide.BudgetSpecOf(b)
	c.options.Do(func(s *decide.State) { s.SetBudget(spec) })
	c.writer.Mark(b.Name)
	c.options.Decide(b.Name)
}

func (c *Controller) gone(o any) {
	last, missed := o.(cache.DeletedFinalStateUnknown) // the watch did not show that it was deleted
	if missed {
		o = last.Obj
	}
	b, ok := o.(*v1alpha1.DisruptionBudget)
	if !ok {
		return
	}
	c.writes.Gone(nameOf(b.Name))
	c.options.Do(func(s *decide.State) { s.RemoveBudget(b.Name, !missed) })
	c.options.Decide(b.Name)
}

// Names lists the DisruptionBudgets that the API shows.
func (c *Controller) Names() []string { return c.informer.GetStore().ListKeys() }

// Changed is told that the log changed: any budget may be used otherwise.
func (c *Controller) Changed() {
	for _, name := range c.Names() {
		c.writer.Mark(name)
	}
}

// Decided is told that nothing more is due of a DisruptionBudget, or that the decision
// about it failed.
func (c *Controller) Decided(name string) { c.writer.Mark(name) }

// Lead writes statuses until the context ends. onReady is called once changes count.
func (c *Controller) Lead(ctx context.Context, onReady func()) {
	c.writer.Run(ctx, func() {
		c.Changed()
		onReady()
	})
}

// write writes the status that a DisruptionBudget should have now, where it has another.
func (c *Controller) write(ctx context.Context, name string) (time.Duration, error) {
	b, err := c.lister.Get(name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	b = c.writes.Newest(nameOf(name), b)
	s, known := c.status(b)
	if !known || equality.Semantic.DeepEqual(s, b.Status) {
		return 0, nil
	}
	_, left, err := c.writes.WriteStatus(ctx, b, s)
	c.options.Patched()
	switch {
	case apierrors.IsNotFound(err):
		return 0, nil
	case apierrors.IsConflict(err):
		return time.Second, nil // it changed meanwhile: look again
	case err != nil:
		return 0, fmt.Errorf("write the status of DisruptionBudget %s: %w", name, err)
	case left:
		return time.Second, nil
	}
	return 0, nil
}

func (c *Controller) status(b *v1alpha1.DisruptionBudget) (s v1alpha1.DisruptionBudgetStatus, known bool) {
	in := status.Budgets{Previous: b.Status}
	c.options.Do(func(state *decide.State) {
		if in.Spec, known = state.Budget(b.Name); !known {
			return // its turn is still to come
		}
		in.Recorded, in.Failed = state.BudgetRecorded(in.Spec), state.BudgetFailure(b.Name)
		if use, binds := state.BudgetUse(b.Name); binds {
			in.Use = &use
		}
	})
	return status.Budget(in, c.options.Now().Truncate(time.Second)), known // in whole seconds, as the API keeps times
}
