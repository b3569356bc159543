package decide

import (
	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// Kept is what a State keeps of a Deployment's rollout.
type Kept struct {
	Current   bool // the log has the spec as the API shows it
	Matched   int
	Online    int
	Disturbed int
	Standings [rollout.Standings]int
	Places    map[string]KeptPlace
}

// KeptPlace is what a State keeps of a Deployment on one device.
type KeptPlace struct {
	Matches  bool
	Batch    int
	Standing rollout.Standing
	Judged   bool
	Class    rollout.Class
	Skipped  bool
	Blocked  bool
	Owes     bool   // something is to be given to it or taken off it
	Full     bool   // a DisruptionBudget has no room for it
	Budget   string // the first of those, and the group's values
}

// Kept gives what the state keeps of a Deployment; false: nothing is placed.
func (s *State) Kept(key fleet.Key) (Kept, bool) {
	pl := s.placementOf(key)
	if pl == nil {
		return Kept{}, false
	}
	k := Kept{
		Current: s.current(s.specs[key]), Matched: pl.matched, Online: pl.online, Disturbed: pl.disturbed, Standings: pl.standings,
		Places: map[string]KeptPlace{},
	}
	for id, p := range pl.places {
		v, budget := p.values, ""
		if full := s.fullGroup(id); full != nil {
			budget = full.of.name + " " + full.name
		}
		k.Places[id] = KeptPlace{
			Matches: v.matches, Batch: v.batch, Standing: v.standing, Judged: v.judged, Class: v.class, Skipped: v.skipped != "",
			Blocked: v.blocked != "", Owes: v.owes || v.free || v.fresh || v.stray, Full: budget != "", Budget: budget,
		}
	}
	return k, true
}

// KeptGroup is what a State keeps of the devices of a DisruptionBudget that share it.
type KeptGroup struct{ Members, Down, Allowed, Spent int }

// Groups gives what the state keeps of a budget, by the values of its groupBy labels;
// nil: it does not bind.
func (s *State) Groups(name string) map[string]KeptGroup {
	s.refresh()
	b := s.ledgers[name]
	if b == nil {
		return nil
	}
	groups := map[string]KeptGroup{}
	for name, g := range b.groups {
		if g.members > 0 || g.down > 0 {
			groups[name] = KeptGroup{g.members, g.down, g.allowed(), g.spent}
		}
	}
	return groups
}

// PutBudget takes a DisruptionBudget into account.
func (s *State) PutBudget(name string, b eventlog.Budget, selector labels.Selector) {
	s.putBudget(name, selector, b.MaxUnavailable, b.MinAvailable, b.GroupBy)
}

// DropBudget ends one.
func (s *State) DropBudget(name string) { s.dropBudget(name) }

// Looks counts the devices of a Deployment that are looked at because of what a function
// does.
func (s *State) Looks(key fleet.Key, because func()) (n int) {
	for _, p := range s.placementOf(key).places {
		p.values.unheard = true // no device that matches is
	}
	because()
	for _, p := range s.placementOf(key).places {
		if !p.values.unheard {
			n++
		}
	}
	return n
}
