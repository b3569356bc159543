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
	r := release{State: s, now: now, left: most, changed: map[string]struct{}{}}
	s.unpark()
	for _, pl := range s.waiting() {
		if r.left > 0 {
			r.serve(pl)
		}
	}
	// What costs nothing counts in the ledger, too, so it goes last: else one that had room
	// when it was granted would come into the log when there is none.
	sortBySubject(r.costly)
	sortBySubject(r.due)
	return append(r.costly, r.due...), r.left <= 0
}

// release is one call of Release, with its ledger.
type release struct {
	*State
	now  time.Time
	left int
	due  []eventlog.Draft
	// costly are those that budgets had room for; due has the others.
	costly []eventlog.Draft
	// changed are the devices that this call changed: each is changed once a call, so that
	// what depends on the first change waits for it.
	changed map[string]struct{}
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
	var taken []*place
	defer func() { // the fold will say what became of them
		for _, p := range taken {
			if p.parked == nil {
				r.enqueue(p)
			}
		}
	}()
	next := func(h *orderHeap) *place {
		for len(*h) > 0 && r.left > 0 {
			p := heap.Pop(h).(*place)
			p.in = nil
			taken = append(taken, p)
			if _, ok := r.changed[p.id]; !ok {
				return p
			}
		}
		return nil
	}
	for p := next(&pl.broken); p != nil; p = next(&pl.broken) {
		r.grant(c, p)
		if !p.values.disturbed && p.values.online {
			room-- // it is unavailable through this rollout from now on
		}
	}
	for immediate || room > 0 {
		p := next(&pl.up)
		if p == nil {
			break
		}
		if r.takeDown(p) {
			r.grant(c, p)
			if p.values.online { // else it upsets nothing
				room--
			}
		}
	}
	r.withdraw(c, pl, room, immediate)
}

// takeDown spends what the budgets have for a device. Where one has nothing left the
// place waits there.
func (r *release) takeDown(p *place) bool {
	if full := r.fullGroup(p.id); full != nil {
		p.parked = full
		p.of.parked++
		full.parked[p] = struct{}{}
		return false
	}
	r.spend(p.id)
	return true
}

func (r *release) grant(c deploymentCase, p *place) {
	target := p.of.set.Target(c.log, true, p.values.batch)
	if target == nil {
		return
	}
	r.give(p, c.assigned(p.id, c.cause(), target, p.batchOf(target)))
}

func (r *release) give(p *place, d eventlog.Draft) {
	if p.values.broken || !p.values.online {
		r.due = append(r.due, d)
	} else {
		r.costly = append(r.costly, d)
	}
	r.changed[p.id] = struct{}{}
	r.left--
}

// withdraw takes a Deployment off the devices that no longer match, at most
// maxUnavailable at a time: a slip in a selector or a label must not take it off four
// thousand devices at once, and a pause stops it. It is through with a device that took it
// off, or is offline.
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
		pair := r.pair(p.id, pl.key.Name)
		if _, changed := r.changed[p.id]; changed {
			continue
		}
		switch {
		case !p.values.online && !immediate:
			continue // it is withdrawn when the device is back, inside the budgets
		case !p.values.online: // it costs no availability
		case pair.Reported.Sequence == 0: // nothing is known to run there
		case p.values.broken: // it costs none either, but is unavailable through this from now on
			if !p.values.disturbed {
				room--
			}
		case room <= 0 || r.fullGroup(p.id) != nil:
			continue
		default:
			r.spend(p.id)
			room--
		}
		r.give(p, c.withdrawn(pair, c.log.Applied.ID))
	}
}
