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
	return s.traced(append(r.costly, r.due...)), r.left <= 0
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
	// taken are the places that were taken out of the heaps of the Deployment that is served.
	taken []*place
}

// waiting gives the placements that owe something, that of the oldest run first.
func (s *State) waiting() []*placement {
	var pls []*placement
	for _, pl := range s.placements {
		if (len(pl.up) > 0 || len(pl.first) > 0 || len(pl.broken) > 0 || len(pl.gone) > 0 || len(pl.leaving) > 0) && s.current(s.specs[pl.key]) {
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
// broken; then first assignments of a run with a rate; then, while its windows are open,
// what its budgets have room for; then devices that leave, which a person asked for. A rate
// bounds the three first.
func (r *release) serve(pl *placement) {
	c := r.deploymentCase(pl.key, r.now)
	immediate := rollout.Immediate(&c.log.Run)
	room := pl.set.MostUnavailable(pl.matched) - pl.disturbed
	r.taken = r.taken[:0]
	defer func() { // the fold will say what became of them
		for _, p := range r.taken {
			if p.group == nil {
				r.enqueue(p)
			}
		}
	}()
	pace, _ := pl.set.Pace(&c.log.Run, r.Clock())
	for pace > 0 {
		p := r.next(&pl.broken)
		if p == nil {
			break
		}
		r.grant(c, p)
		pace--
		if !p.values.disturbed && p.values.online {
			room-- // it is unavailable through this rollout from now on
		}
	}
	for pace > 0 {
		p := r.next(&pl.first)
		if p == nil {
			break
		}
		if d, ok := c.assignedFirst(p, c.cause()); ok {
			r.give(p, d)
		}
		pace--
	}
	for pace > 0 && pl.hours.Open && (immediate || room > 0) {
		p := r.next(&pl.up)
		if p == nil {
			break
		}
		if r.takeDown(p) {
			r.grant(c, p)
			pace--
			if p.values.online { // else it upsets nothing
				room--
			}
		}
	}
	r.withdraw(c, pl, room)
}

// next takes the first place out of a heap whose device this call did not change; nil:
// there is none.
func (r *release) next(h *orderHeap) *place {
	for len(*h) > 0 && r.left > 0 {
		p := heap.Pop(h).(*place)
		p.in = nil
		r.taken = append(r.taken, p)
		if _, ok := r.changed[p.id]; !ok {
			return p
		}
		refill(p)
	}
	return nil
}

// refill lets the next place go on that waits for the group for which this one waited,
// where the group has room that this one does not use.
func refill(p *place) {
	if g := p.from; g != nil && g.room() > 0 {
		g.release(p.waiters(), 1)
	}
}

// takeDown spends what the budgets have for a device. Where one has nothing left the
// place waits there.
func (r *release) takeDown(p *place) bool {
	if full := r.fullGroup(p.id); full != nil {
		refill(p)
		p.from = nil
		full.park(p)
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
	if d, ok := c.assigned(p, c.causeOf(p, target), target, p.batchOf(target)); ok {
		r.give(p, d)
	}
}

func (r *release) give(p *place, d eventlog.Draft) {
	if p.values.broken || p.values.fresh || !p.values.online {
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
func (r *release) withdraw(c deploymentCase, pl *placement, room int) {
	if pl.set.Held(c.log) || c.log.Run.Phase == fleet.PhasePaused {
		return
	}
	for p := r.next(&pl.gone); p != nil; p = r.next(&pl.gone) {
		r.give(p, c.withdrawn(p.pair(), c.log.Applied.ID))
		if p.values.online && p.values.broken && !p.values.unheard && !p.values.disturbed {
			room-- // it is unavailable through this from now on
		}
	}
	for room > 0 {
		p := r.next(&pl.leaving)
		if p == nil {
			return
		}
		if r.takeDown(p) {
			r.give(p, c.withdrawn(p.pair(), c.log.Applied.ID))
			room--
		}
	}
}
