package resource

import (
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

// Catalog shows a view of the fleet as the objects that Kubernetes would have:
// what the operator decides and says of each, by its own functions, and without
// Kubernetes. It belongs to one goroutine, as its view does.
type Catalog struct {
	View  *fleet.View
	state *decide.State
	Now   time.Time
	// Happened says that the view is what was true at Now, and not what the log knew then.
	Happened bool

	objs map[fleet.Key]*recorded

	budgets map[string]*fleet.Budget // as the state has them
}

// recorded is a Deployment's resource as the log recorded it.
type recorded struct {
	sequence uint64 // of the event that applied it
	object   v1alpha1.Deployment
	spec     decide.Spec
	err      error // what makes the recorded spec one that cannot be read
}

// NewCatalog makes the catalog of a view. Ages count to now.
func NewCatalog(v *fleet.View, now time.Time) *Catalog {
	c := &Catalog{View: v, state: decide.NewState(v), Now: now, objs: map[fleet.Key]*recorded{}, budgets: map[string]*fleet.Budget{}}
	for id := range v.Devices {
		c.DeviceChanged(id)
	}
	for key := range v.Deployments {
		c.DeploymentChanged(key)
	}
	c.takeBudgets()
	c.state.Tick(v.Clock) // time has passed since the log's last event
	c.state.Tick(now)
	return c
}

// Changed takes over what the view says of what changed in it, as View.Drain gives it.
func (c *Catalog) Changed(deployments []fleet.Key, devices []string) {
	c.takeBudgets()
	for _, id := range devices {
		c.DeviceChanged(id)
	}
	for _, key := range deployments {
		c.DeploymentChanged(key)
	}
}

// takeBudgets takes over what the view says of DisruptionBudgets, of which there are few.
func (c *Catalog) takeBudgets() {
	for name := range c.budgets {
		if b := c.View.Budgets[name]; b == nil || !b.Binds() {
			c.state.RemoveBudget(name, true)
			delete(c.budgets, name)
		}
	}
	for name, b := range c.View.Budgets {
		if b.Binds() && c.budgets[name] != b { // the view replaces what changes
			c.state.SetBudget(decide.BudgetSpecOfLog(name, b.Budget))
			c.budgets[name] = b
		}
	}
}

// DeviceChanged takes over what the view says of a device's labels.
func (c *Catalog) DeviceChanged(id string) {
	if d := c.View.Devices[id]; d != nil && d.Labels != nil {
		c.state.SetDevice(id, d.Labels)
	} else {
		c.state.RemoveDevice(id)
	}
}

// DeploymentChanged takes over what the view says of a Deployment. An orphan has
// no resource, and one that ended has none either.
func (c *Catalog) DeploymentChanged(key fleet.Key) {
	d := c.View.Deployments[key]
	if d == nil || d.Lifecycle != fleet.Applied {
		c.state.RemoveDeployment(key)
		return
	}
	if _, there := c.state.Deployment(key); there && c.objs[key] != nil && c.objs[key].sequence == d.Applied.Sequence {
		return // set again, it would not be known to be placed
	}
	c.state.SetDeployment(c.recorded(d).spec)
}

// recorded makes a Deployment's resource out of the log, once for each time that
// it was applied.
func (c *Catalog) recorded(d *fleet.Deployment) *recorded {
	r := c.objs[d.Key]
	if r == nil || r.sequence != d.Applied.Sequence {
		r = &recorded{sequence: d.Applied.Sequence}
		r.object, r.err = deploymentObject(d)
		r.spec = decide.SpecOf(&r.object)
		c.objs[d.Key] = r
	}
	return r
}

// present says whether a Deployment is there.
func (c *Catalog) present(key fleet.Key) bool { return viewdiff.Present(c.View.Deployments[key]) }

// known says whether a device is one of the fleet's.
func (c *Catalog) known(key fleet.Key) bool {
	return viewdiff.Known(c.View.Devices[key.Name]) && eventlog.CheckName("device", key.Name) == nil
}
