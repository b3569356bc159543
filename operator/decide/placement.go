package decide

import (
	"reflect"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/window"
)

// placement is one Deployment on all its devices: an index beside the fold, kept by
// what changes, so that a decision costs the same for a hundred devices and for a
// hundred thousand. It can be thrown away at any moment and is made again from the
// fold and the API's objects.
type placement struct {
	key       fleet.Key
	phase     phase
	said      eventlog.RolloutSettings // what set was filled in from
	set       rollout.Settings
	hours     window.State // how its windows are
	places    map[string]*place
	selects   string // its selector, and how often that changed
	selection int
	round     uint64 // the refresh in which all its devices were put there

	standings  [rollout.Standings]int
	classes    [rollout.Classes]int // of the open batch's devices
	matched    int
	online     int          // of those that match
	disturbed  int          // unavailable through this Deployment
	offline    int          // of the open batch's devices
	failing    int          // of the open batch's devices: they fail, and not for long enough to be believed
	awaited    int          // of those, the ones that may still come back and be judged
	blocked    int          // of the open batch's devices: they wait for a Deployment that they depend on
	missing    int          // of the open batch's devices: see placeValues.missing
	unfilled   int          // of the open batch's devices: see placeValues.unfilled
	depends    int          // online devices that an Immediate run would give its target to, and that wait for what it depends on
	newest     fleet.Moment // when the newest deadline of the open batch's devices began: see newestBegun
	newestLeft bool

	failed       int // were given the target and report that they failed
	failedOnline int // of those, the ones that are not offline
	absent       int // are offline and did not succeed
	failures     byReason
	skips        byReason

	fresh    map[*place]struct{} // match, have nothing, and are to get something
	first    orderHeap           // the same, where a rate bounds how many are given it
	renumber map[*place]struct{} // have the target's content, under another number
	broken   orderHeap           // owe a value, and what they have is unavailable or failed
	up       orderHeap           // owe a value, and what they have may run
	strays   int                 // have it, and do not match
	gone     orderHeap           // of those, the ones that it costs no availability to take it off
	leaving  orderHeap           // of those, the ones that it costs
	parked   int                 // wait for a DisruptionBudget
	due      dueHeap

	cuts [2]cut // of the run's target, and of the stable one
}

// phase is what all of a placement was classified by. Where it differs, all is
// classified again.
type phase struct {
	log      *fleet.Deployment
	run      uint64
	batch    int
	batchAt  time.Time
	at       fleet.Phase
	held     bool
	failed   bool // nothing is given until what follows from that is in the log
	stable   string
	rejected string
	budgets  uint64 // counts changes of the DisruptionBudgets
}

// place is a Deployment on one device.
type place struct {
	of     *placement
	next   *place // of the device, in another placement
	id     string
	order  uint64
	values placeValues

	// What a look at it needs, kept from the last change of the device: a map of a
	// hundred thousand devices costs more than all else.
	dev       *fleet.Device // nil: the log never heard of it
	labels    *deviceLabels // nil: it has no Device object
	selected  bool          // by the selector of the Deployment
	selection int           // when that was found out
	nameable  bool
	rendered  *rendered // nil: nothing is filled in for each device

	in       *orderHeap   // where it waits
	index    int          // there
	group    *budgetGroup // for whose room it waits
	from     *budgetGroup // for whose room it waited before
	stray    bool         // it is counted among the strays
	dueIndex int          // in the due heap; -1: not in it
}

func newPlacement(key fleet.Key, devices int) *placement {
	return &placement{
		key: key, places: make(map[string]*place, devices), fresh: map[*place]struct{}{},
		renumber: map[*place]struct{}{}, failures: byReason{}, skips: byReason{},
	}
}

// placementOf gives the placement of a Deployment, up to date.
func (s *State) placementOf(key fleet.Key) *placement {
	s.refresh()
	return s.placements[key]
}

// refresh brings all placements up to date with the fold, the API's objects and the
// log's clock.
func (s *State) refresh() {
	deployments, devices := s.changes.Drain()
	for _, key := range deployments {
		s.stale[key] = struct{}{}
	}
	for _, id := range devices {
		s.noteMoved(id)
	}
	for id := range s.moved { // before the places, which look at the budgets
		s.moveInBudgets(id)
	}
	s.round++
	remade := 0
	for key := range s.stale {
		delete(s.stale, key)
		if s.replace(key) {
			remade++
		}
	}
	for id, relabelled := range s.moved {
		s.move(id, relabelled, remade == len(s.placements))
	}
	if len(s.moved) > 1024 { // an empty map that was large would cost as much at each look
		s.moved = map[string]bool{}
	} else {
		clear(s.moved)
	}
	clock := s.Clock()
	if clock.Equal(s.duesAt) {
		return // what was classified since then counts until a later moment
	}
	s.duesAt = clock
	for _, pl := range s.placements {
		if edge := pl.hours.Until; !edge.IsZero() && !edge.After(clock) {
			pl.hours = pl.set.Hours(&pl.phase.log.Run, clock)
		}
		for len(pl.due) > 0 && !pl.due[0].values.until.After(clock) {
			s.classify(pl.due[0])
		}
	}
}

// noteMoved notes a device to look at, whose labels are what they were, or are noted already.
func (s *State) noteMoved(id string) {
	if _, noted := s.moved[id]; !noted {
		s.moved[id] = false
	}
}

// replace makes a Deployment's placement anew where anything that concerns all its
// devices differs. It says whether each device that may have a place in it was put there.
func (s *State) replace(key fleet.Key) (remade bool) {
	pl := s.placements[key]
	spec, exists := s.specs[key]
	log := s.view.Deployments[key]
	if !exists || spec.Deleting || spec.Problem != nil || log == nil || log.Lifecycle != fleet.Applied {
		was, known := s.ended[key]
		if is := endedOf(log); pl != nil || !known || !reflect.DeepEqual(is, was) { // its end may come into the log later than its placement went
			s.ended[key] = is
			if pl != nil {
				s.drop(pl)
			}
			s.touchAllDependents(key.Namespace)
		}
		return false
	}
	delete(s.ended, key)
	same := pl != nil && reflect.DeepEqual(pl.said, log.Settings)
	var set rollout.Settings
	if same {
		set = pl.set // to read windows costs more than all else that a report does
	} else {
		set = rollout.Fill(log.Settings)
	}
	now := phase{
		log: log, run: log.Run.ID, batch: log.Run.Batch, batchAt: log.Run.BatchAt, at: log.Run.Phase, held: set.Held(log),
		failed: log.Run.Failed, stable: log.Stable.Hash, rejected: log.Rejected, budgets: s.budgetChanges,
	}
	if pl != nil && pl.phase == now && pl.selects == spec.selects && same {
		return false
	}
	moves := pl == nil || pl.selects != spec.selects || pl.phase.log != log
	var was phase
	var depended []string
	if pl == nil {
		pl = newPlacement(key, log.Counts.Matched)
		s.placements[key] = pl
	} else {
		was, depended = pl.phase, pl.set.DependsOn
	}
	next := was
	next.batch, next.batchAt = now.batch, now.batchAt
	turns := !moves && next == now && same // to another batch, and nothing else
	pl.phase, pl.said, pl.set, pl.newestLeft, pl.hours = now, log.Settings, set, true, set.Hours(&log.Run, s.Clock())
	switch {
	case moves:
		pl.selects = spec.selects
		pl.selection++
		pl.round = s.round
		for _, p := range pl.places {
			s.put(pl, p.id)
		}
		for p := range log.Assigned { // first, for those of one Deployment are near each other in memory
			s.putOnce(pl, p.Device.ID)
		}
		for id := range s.matching(spec.Selector) {
			s.putOnce(pl, id)
		}
		for id := range s.leavers[key] {
			s.putOnce(pl, id)
		}
		delete(s.leavers, key)
	case turns:
		for _, p := range pl.places {
			if b := p.values.batch; b >= min(was.batch, now.batch) && b <= max(was.batch, now.batch) {
				s.classify(p)
			}
		}
	default:
		s.classifyAll(pl)
	}
	switch {
	case !slices.Equal(depended, set.DependsOn): // a cycle may have come or gone
		s.touchAllDependents(key.Namespace)
	case was.run != now.run || was.at != now.at || was.log != now.log:
		s.touchDependents(key)
	}
	return moves
}

func (s *State) drop(pl *placement) {
	for _, p := range pl.places {
		s.take(p)
		if pair := s.pair(p.id, pl.key.Name); pair != nil && pair.Leaving() && *pair.Key == pl.key {
			s.noteLeaver(pl.key, p.id)
		}
	}
	delete(s.placements, pl.key)
	delete(s.stirred, pl)
}

// move looks at a device that changed in each Deployment that it may concern, except for
// those which were remade since: they have looked at it. allRemade says that all were.
func (s *State) move(id string, relabelled, allRemade bool) {
	if out := s.out(id); out != s.outs[id] {
		relabelled = true // what it matches, counts again or no longer
		if out {
			s.outs[id] = true
		} else {
			delete(s.outs, id)
		}
	}
	seen := s.concerned[:0]
	if !allRemade {
		for p := s.placesOf[id]; p != nil; p = p.next {
			if p.of.round != s.round {
				seen = append(seen, p.of)
			}
		}
	}
	if ls, ok := s.devices[id]; ok && relabelled && !allRemade {
		keys := map[fleet.Key]struct{}{}
		s.selectors.candidates(keys, ls.set)
		for key := range keys {
			if pl := s.placements[key]; pl != nil && pl.round != s.round && !slices.Contains(seen, pl) {
				seen = append(seen, pl)
			}
		}
	}
	if dev := s.view.Devices[id]; dev != nil {
		for p := range dev.Assignments {
			if allRemade && !p.Leaving() {
				continue
			}
			switch pl := s.placements[*p.Key]; {
			case pl == nil && p.Leaving():
				s.noteLeaver(*p.Key, id)
			case pl != nil && (pl.round != s.round || p.Leaving()) && !slices.Contains(seen, pl):
				seen = append(seen, pl)
			}
		}
	}
	for _, pl := range seen {
		s.put(pl, id)
	}
	clear(seen)
	s.concerned = seen
}

// putOnce is put for a device that was not put there since the selector changed.
func (s *State) putOnce(pl *placement, id string) {
	if p := pl.places[id]; p == nil || p.selection != pl.selection {
		s.put(pl, id)
	}
}

// put gives a device its place in a placement, or takes it out where it has none.
func (s *State) put(pl *placement, id string) {
	p, known := pl.places[id], true
	if p == nil {
		p, known = &place{of: pl, id: id, index: -1, dueIndex: -1}, false
	}
	if p.dev == nil {
		p.dev = s.view.Devices[id]
	}
	pair := p.pair()
	has := pair != nil && pair.Deployment == pl.phase.log
	leaving := pair != nil && pair.Leaving() && *pair.Key == pl.key
	if labels := s.devices[id]; labels != p.labels || p.selection != pl.selection {
		p.labels, p.selection = labels, pl.selection
		p.selected = labels != nil && s.specs[pl.key].Selector.Matches(labels.set)
	}
	matched := p.values.matches
	if !has && !leaving && !s.matches(p, has) {
		if known {
			s.take(p)
			s.stirred[pl] = struct{}{}
		}
		return
	}
	if !known {
		p.order, p.nameable = fleet.Order(pl.key, id), nameable(id)
		pl.places[id] = p
		p.next, s.placesOf[id] = s.placesOf[id], p
	}
	s.classify(p)
	if p.values.matches != matched {
		s.stirred[pl] = struct{}{}
	}
}

// pair is what the log knows of the Deployment's name on the device; nil: nothing.
func (p *place) pair() *fleet.Assignment {
	if p.dev == nil {
		return nil
	}
	return p.dev.Pair(p.of.key.Name)
}

// matches says whether a Deployment is for a device: its labels match, or it has the
// Deployment and no Device object says otherwise.
func (s *State) matches(p *place, has bool) bool {
	if p.labels == nil {
		return has
	}
	return p.selected && !s.outOf(p)
}

// outOf says whether the device of a place is out of the fleet.
func (s *State) outOf(p *place) bool { return p.dev != nil && p.dev.Out() || s.leaving[p.id] }

// take takes a place out of its placement.
func (s *State) take(p *place) {
	p.account(-1)
	p.leaveQueues()
	delete(p.of.places, p.id)
	switch first := s.placesOf[p.id]; {
	case first != p:
		for first.next != p {
			first = first.next
		}
		first.next = p.next
	case p.next != nil:
		s.placesOf[p.id] = p.next
	default:
		delete(s.placesOf, p.id)
	}
	p.next = nil
}
