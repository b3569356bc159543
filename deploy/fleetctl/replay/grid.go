package replay

import (
	"slices"

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
	StateOffline              // no pulse comes from it
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

// Filter is what a person wants to see devices of; the zero Subject is all.
type Filter struct {
	Device     string
	Namespace  string // of the Deployment; empty for any
	Deployment string // by its name
}

// stateOf is what a device's cell shows, and whether it has one: a device that was
// decommissioned has none, nor has one without the Deployment that is watched.
func (s Filter) stateOf(d *fleet.Device) (State, bool) {
	if d == nil || d.Decommissioned || s.Device != "" && d.ID != s.Device {
		return 0, false
	}
	state, assigned := StateIdle, false
	for p := range d.Assignments {
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
func (s Filter) watches(d *fleet.Deployment) bool {
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

// grid holds the devices' cells, in the order of their names. What changed updates
// it, so that drawing 100,000 devices costs no fold.
type grid struct {
	filter   Filter
	ids      []string
	states   []State
	index    map[string]int
	count    [states]int
	maxIDLen int
}

// reset looks at every device of a view.
func (g *grid) reset(v *fleet.View) {
	g.ids, g.states, g.count, g.maxIDLen = g.ids[:0], g.states[:0], [states]int{}, 0
	g.index = make(map[string]int, len(v.Devices))
	for id := range v.Devices {
		if s, ok := g.filter.stateOf(v.Devices[id]); ok {
			g.ids = append(g.ids, id)
			g.count[s]++
			g.maxIDLen = max(g.maxIDLen, len(id))
		}
	}
	slices.Sort(g.ids)
	for i, id := range g.ids {
		s, _ := g.filter.stateOf(v.Devices[id])
		g.states = append(g.states, s)
		g.index[id] = i
	}
}

// update looks at the devices that changed, and at all of them where one came or
// went.
func (g *grid) update(v *fleet.View, changed []string) {
	for _, id := range changed {
		s, shown := g.filter.stateOf(v.Devices[id])
		i, was := g.index[id]
		switch {
		case shown != was:
			g.reset(v)
			return
		case shown:
			g.count[g.states[i]]--
			g.count[s]++
			g.states[i] = s
		}
	}
}

// cells gives at most n cells, each of as many devices, with the worst state of
// those it stands for.
func (g *grid) cells(n int) (cells []State, each int) {
	if n <= 0 || len(g.states) == 0 {
		return nil, 1
	}
	each = (len(g.states) + n - 1) / n
	if each == 1 {
		return g.states, 1
	}
	cells = make([]State, 0, n)
	for group := range slices.Chunk(g.states, each) {
		cells = append(cells, slices.Max(group))
	}
	return cells, each
}
