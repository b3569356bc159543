package decide

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// MaxGrants is how many upsetting assignments one round makes, so that a pause or a
// failure is heard between.
const MaxGrants = 4096

// Release is the one owner of all that upsets devices: it gives the assignments that
// replace what a device has, and the withdrawals from devices that no longer match,
// within maxUnavailable of each Deployment and all DisruptionBudgets. It is asked once a
// round, before all else, over a fold that has passed what was appended; so no
// reservation outlives the call. It gives at most that many events; more says that
// others may be due.
func Release(s *State, now time.Time, most int) (due []eventlog.Draft, more bool) {
	s.refresh()
	defer s.settleBudgets()
	r := release{State: s, now: now, left: most, down: map[string]struct{}{}}
	s.unpark()
	for _, pl := range s.waiting() {
		if r.left > 0 {
			r.serve(pl)
		}
	}
	sortBySubject(r.due)
	return r.due, r.left <= 0
}

// release is one call of Release, with its ledger.
type release struct {
	*State
	now  time.Time
	left int
	due  []eventlog.Draft
	down map[string]struct{} // devices that go down through this call
}

// waiting gives the placements that owe something, that of the oldest run first.
func (s *State) waiting() []*placement {
	var pls []*placement
	for _, pl := range s.placements {
		if (len(pl.up) > 0 || len(pl.broken) > 0 || len(pl.strays) > 0) && s.current(s.specs[pl.key]) {
			pls = append(pls, pl)
		}
	}
	slices.SortFunc(pls, func(a, b *placement) int {
		if c := cmp.Compare(a.phase.run, b.phase.run); c != 0 {
			return c
		}
		return a.key.Compare(b.key)
	})
	return pls
}

// serve grants what a Deployment owes: first where what the device has is broken anyway,
// which costs no availability, so that maxUnavailable never keeps a mend from what is
// broken; then what its budgets have room for; then devices that leave.
func (r *release) serve(pl *placement) {
	c := r.deploymentCase(pl.key, r.now)
	immediate := rollout.Immediate(&c.log.Run)
	room := pl.set.MostUnavailable(pl.matched) - pl.disturbed
	var given []*place
	for len(pl.broken) > 0 && r.left > 0 {
		p := heap.Pop(&pl.broken).(*place)
		p.in = nil
		given = append(given, p)
		r.grant(c, p)
		if !p.values.disturbed && p.values.online {
			room-- // it is unavailable through this rollout from now on
		}
	}
	for len(pl.up) > 0 && r.left > 0 && (immediate || room > 0) {
		p := heap.Pop(&pl.up).(*place)
		p.in = nil
		if !r.takeDown(p) {
			continue
		}
		given = append(given, p)
		r.grant(c, p)
		room--
	}
	r.withdraw(c, pl, room, immediate)
	for _, p := range given { // the fold will say what became of them
		r.enqueue(p)
	}
}

// takeDown spends what the budgets have for a device, unless the call did so before.
// Where one has nothing left the place waits there.
func (r *release) takeDown(p *place) bool {
	if _, down := r.down[p.id]; down {
		return true
	}
	if full := r.fullGroup(p.id); full != nil {
		p.parked = full
		full.parked[p] = struct{}{}
		return false
	}
	r.spend(p.id)
	r.down[p.id] = struct{}{}
	return true
}

func (r *release) grant(c deploymentCase, p *place) {
	target := p.of.set.Target(c.log, true, p.values.batch)
	if target == nil {
		return
	}
	r.due = append(r.due, c.assigned(p.id, c.cause(), target, p.batchOf(target)))
	r.left--
}

// withdraw takes a Deployment off the devices that no longer match, at most
// maxUnavailable at a time: a slip in a selector or a label must not take it off four
// thousand devices at once, and a pause stops it. One that is through is taken off its device or offline.
func (r *release) withdraw(c deploymentCase, pl *placement, room int, immediate bool) {
	if len(pl.strays) == 0 || pl.set.Held(c.log) || c.log.Run.Phase == fleet.PhasePaused {
		return
	}
	strays := make([]*place, 0, len(pl.strays))
	for p := range pl.strays {
		strays = append(strays, p)
	}
	slices.SortFunc(strays, before)
	for _, p := range strays {
		if r.left <= 0 {
			return
		}
		switch {
		case !p.values.online && !immediate:
			continue // it is withdrawn when the device is back, inside the budgets
		case !p.values.online:
		case room <= 0 || !r.takeDown(p):
			continue
		default:
			room--
		}
		r.due = append(r.due, c.withdrawn(r.pair(p.id, pl.key.Name), c.log.Applied.ID))
		r.left--
	}
}
