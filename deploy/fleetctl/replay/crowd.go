package replay

import (
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// State is what a device's cell shows. A greater one is worse, and wins where one
// cell stands for several devices.
type State uint8

// The states, by docs/status.md's words.
const (
	StateIdle    State = iota // nothing is assigned to it
	StateRunning              // all that is assigned succeeded
	StatePending              // something is neither running nor failed yet
	StateOffline              // its pulse is not heard
	StateRevoked              // its access is revoked
	StateFailed               // something failed
	states                    // how many there are
)

// Letter is how the state reads where there is no colour.
func (s State) Letter() byte { return ".RPoXF"[s] }

// Word names the state.
func (s State) Word() string {
	return [...]string{"idle", "running", "pending", "offline", "revoked", "failed"}[s]
}

// Subject is what a person wants to see devices of; the zero Subject is all.
type Subject struct {
	Device     string
	Namespace  string // of the Deployment; empty for any
	Deployment string // by its name
}

// stateOf is what a device's cell shows, and whether it has one: a device that was
// decommissioned has none, nor has one without the Deployment that is watched.
func (s Subject) stateOf(d *fleet.Device) (State, bool) {
	if d == nil || d.Decommissioned || s.Device != "" && d.ID != s.Device {
		return 0, false
	}
	state, assigned := StateIdle, false
	for p := range d.Pairs {
		if !p.Assigned() || s.Deployment != "" && p.Name != s.Deployment || s.Namespace != "" && p.Namespace != s.Namespace {
			continue
		}
		assigned = true
		switch {
		case p.Failed():
			state = max(state, StateFailed)
		case p.Succeeded():
			state = max(state, StateRunning)
		default:
			state = max(state, StatePending)
		}
	}
	if s.Deployment != "" && !assigned {
		return 0, false
	}
	if d.Access != nil {
		state = max(state, StateRevoked)
	}
	if d.Presence.Online == fleet.OnlineFalse {
		state = max(state, StateOffline)
	}
	return state, true
}

// watches says whether a Deployment is one of the subject's.
func (s Subject) watches(d *fleet.Deployment) bool {
	switch {
	case s.Deployment != "":
		return d.Key.Name == s.Deployment && (s.Namespace == "" || d.Key.Namespace == s.Namespace)
	case s.Device != "":
		for p := range d.Assigned {
			if p.Device.ID == s.Device {
				return true
			}
		}
		return false
	}
	return true
}

// crowd are the devices' cells, in the order of their names. It is kept up to date
// by what changed, so that a picture of 100,000 devices costs no fold.
type crowd struct {
	subject Subject
	ids     []string
	states  []State
	place   map[string]int
	count   [states]int
	longest int // of the names
}

// reset looks at every device of a view.
func (c *crowd) reset(v *fleet.View) {
	c.ids, c.states, c.count, c.longest = c.ids[:0], c.states[:0], [states]int{}, 0
	c.place = make(map[string]int, len(v.Devices))
	for id := range v.Devices {
		if s, ok := c.subject.stateOf(v.Devices[id]); ok {
			c.ids = append(c.ids, id)
			c.count[s]++
			c.longest = max(c.longest, len(id))
		}
	}
	slices.Sort(c.ids)
	for i, id := range c.ids {
		s, _ := c.subject.stateOf(v.Devices[id])
		c.states = append(c.states, s)
		c.place[id] = i
	}
}

// update looks at the devices that changed, and at all of them where one came or
// went.
func (c *crowd) update(v *fleet.View, changed []string) {
	for _, id := range changed {
		s, shown := c.subject.stateOf(v.Devices[id])
		i, was := c.place[id]
		switch {
		case shown != was:
			c.reset(v)
			return
		case shown:
			c.count[c.states[i]]--
			c.count[s]++
			c.states[i] = s
		}
	}
}

// cells gives at most n cells, each of as many devices, with the worst state of
// those it stands for.
func (c *crowd) cells(n int) (cells []State, each int) {
	if n <= 0 || len(c.states) == 0 {
		return nil, 1
	}
	each = (len(c.states) + n - 1) / n
	if each == 1 {
		return c.states, 1
	}
	cells = make([]State, 0, n)
	for group := range slices.Chunk(c.states, each) {
		cells = append(cells, slices.Max(group))
	}
	return cells, each
}

// unfinished says whether a Deployment's rollout is on its way.
func unfinished(d *fleet.Deployment) bool {
	return d.Lifecycle == fleet.Applied && d.Rollout.Last != "" && d.Rollout.Last != eventlog.RolloutCompleted
}
