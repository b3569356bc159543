package decide

import (
	"container/heap"
	"maps"
	"slices"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// placement is one Deployment on all its devices: an index beside the fold, kept by
// what changes, so that a decision costs the same for a hundred devices and for a
// hundred thousand. It can be thrown away at any moment and is made again from the
// fold and the API's objects.
type placement struct {
	key    fleet.Key
	phase  phase
	set    rollout.Settings
	places map[string]*place

	standings [rollout.Standings]int
	classes   [rollout.Classes]int // of the open batch's devices
	matched   int
	online    int // of those that match
	disturbed int // unavailable through this Deployment
	offline   int // of the open batch's devices
	awaited   int // of those, the ones that may still come back and be judged
	blocked   int // of the open batch's devices: they wait for a Deployment that they depend on
	newest    time.Time

	failed       int                            // were given the target and report that they failed
	failedOnline int                            // of those, the ones that are not offline
	absent       int                            // are offline and did not succeed
	failures     map[string]map[*place]struct{} // by reason

	fresh    map[*place]struct{} // match, have nothing, and are to get something
	strays   map[*place]struct{} // have it, and do not match
	parked   int                 // wait for a DisruptionBudget
	renumber map[*place]struct{} // have the target's content, under another number
	broken   orderHeap           // owe a value, and what they have is unavailable or failed
	up       orderHeap           // owe a value, and what they have may run
	due      dueHeap
}

// phase is what all of a placement was classified by. Where it differs, all is
// classified again.
type phase struct {
	log        *fleet.Deployment
	generation int64
	applied    uint64
	run        uint64
	batch      int
	batchAt    time.Time
	at         fleet.Phase
	held       bool
	failed     bool // nothing is given until what follows from that is in the log
	stable     string
	budgets    uint64 // counts changes of the DisruptionBudgets
}

// place is a Deployment on one device.
type place struct {
	of     *placement
	id     string
	order  uint64
	values placeValues

	index    int // in the heap of what owes
	in       *orderHeap
	parked   *budgetGroup
	dueIndex int // in the due heap; -1: not in it
}

// placeValues are what a place adds to its placement's counts.
type placeValues struct {
	matches   bool
	online    bool
	gone      bool // the log says that it is offline
	down      bool
	failed    bool // was given the target and reports that it failed
	failure   string
	disturbed bool
	stray     bool
	fresh     bool
	owes      bool
	free      bool // it has the target's content under another number
	broken    bool // what it has is unavailable through a rollout, or failed
	judged    bool
	awaited   bool // offline, and not lost
	batch     int
	standing  rollout.Standing
	class     rollout.Class
	skipped   string // reason
	blocked   string // the Deployment that it depends on and that is not healthy there
	until     time.Time
}

func newPlacement(key fleet.Key) *placement {
	return &placement{
		key: key, places: map[string]*place{}, fresh: map[*place]struct{}{}, strays: map[*place]struct{}{},
		renumber: map[*place]struct{}{}, failures: map[string]map[*place]struct{}{},
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
	for key := range s.stale {
		delete(s.stale, key)
		s.replace(key)
	}
	for _, id := range devices {
		s.moved[id] = struct{}{}
	}
	many := len(s.moved) > 1024
	for id := range s.moved {
		delete(s.moved, id)
		s.move(id)
	}
	if many { // an empty map that was large would cost as much at each look
		s.moved, s.relabelled = map[string]struct{}{}, map[string]bool{}
	}
	clock := s.Clock()
	if clock.Equal(s.duesAt) {
		return // what was classified since then counts until a later moment
	}
	s.duesAt = clock
	for _, pl := range s.placements {
		for len(pl.due) > 0 && !pl.due[0].values.until.After(clock) {
			s.classify(pl.due[0])
		}
	}
}

// replace makes a Deployment's placement anew where anything that concerns all its
// devices differs.
func (s *State) replace(key fleet.Key) {
	pl := s.placements[key]
	spec, exists := s.specs[key]
	log := s.view.Deployments[key]
	if !exists || spec.Deleting || spec.Problem != nil || log == nil || log.Lifecycle != fleet.Applied {
		if pl != nil {
			s.drop(pl)
		}
		s.touchDependents(key) // its end may come into the log later than its placement went
		return
	}
	set := rollout.Fill(log.Settings)
	now := phase{
		log: log, generation: spec.Generation, applied: log.Applied.Sequence, run: log.Run.ID, batch: log.Run.Batch,
		batchAt: log.Run.BatchAt, at: log.Run.Phase, held: set.Held(log), failed: log.Run.Failed, stable: log.Stable.Hash, budgets: s.budgetChanges,
	}
	if pl != nil && pl.phase == now {
		return
	}
	moves := pl == nil || pl.phase.generation != now.generation || pl.phase.applied != now.applied || pl.phase.log != now.log
	var was phase
	var depended []string
	if pl == nil {
		pl = newPlacement(key)
		s.placements[key] = pl
	} else {
		was, depended = pl.phase, pl.set.DependsOn
	}
	pl.phase, pl.set, pl.newest = now, set, time.Time{}
	if moves {
		ids := map[string]struct{}{}
		for id := range pl.places {
			ids[id] = struct{}{}
		}
		for _, id := range s.matching(spec.Selector) {
			ids[id] = struct{}{}
		}
		for p := range log.Assigned {
			ids[p.Device.ID] = struct{}{}
		}
		for id := range s.leavers[key] {
			ids[id] = struct{}{}
		}
		delete(s.leavers, key)
		for id := range ids {
			s.put(pl, id)
		}
	} else {
		s.classifyAll(pl)
	}
	switch {
	case !slices.Equal(depended, set.DependsOn): // a cycle may have come or gone
		for other, pl := range s.placements {
			if other.Namespace == key.Namespace && len(pl.set.DependsOn) > 0 {
				s.classifyAll(pl)
			}
		}
	case was.run != now.run || was.at != now.at || was.log != now.log:
		s.touchDependents(key)
	}
}

// touchDependents: those that wait for a Deployment's devices look again.
func (s *State) touchDependents(key fleet.Key) {
	for other, pl := range s.placements {
		if other.Namespace == key.Namespace && other != key && slices.Contains(pl.set.DependsOn, key.Name) {
			s.classifyAll(pl)
		}
	}
}

// classifyAll looks at a Deployment on each of its devices.
func (s *State) classifyAll(pl *placement) {
	for _, p := range pl.places {
		s.classify(p)
	}
}

func (s *State) drop(pl *placement) {
	for _, p := range pl.places {
		s.take(p)
		if pair := s.pair(p.id, pl.key.Name); pair != nil && pair.Leaving() && *pair.Key == pl.key {
			s.noteLeaver(pl.key, p.id)
		}
	}
	delete(s.placements, pl.key)
}

// noteLeaver remembers a device that has yet to take a Deployment off which is not
// placed now: an orphan may be adopted, and its devices are unavailable through it still.
func (s *State) noteLeaver(key fleet.Key, id string) {
	if s.leavers[key] == nil {
		s.leavers[key] = map[string]struct{}{}
	}
	s.leavers[key][id] = struct{}{}
}

// noteLeavers looks for such devices in the whole view.
func (s *State) noteLeavers() {
	clear(s.leavers)
	for id, dev := range s.view.Devices {
		for p := range dev.Assignments {
			if p.Leaving() {
				s.noteLeaver(*p.Key, id)
			}
		}
	}
}

// move looks at a device that changed in each Deployment that it may concern.
func (s *State) move(id string) {
	s.moveInBudgets(id)
	if out := s.out(id); out != s.outs[id] {
		s.relabelled[id] = true // what it matches, counts again or no longer
		if out {
			s.outs[id] = true
		} else {
			delete(s.outs, id)
		}
	}
	seen := map[*placement]struct{}{}
	for _, p := range s.placesOf[id] {
		seen[p.of] = struct{}{}
	}
	if ls, ok := s.devices[id]; ok && s.relabelled[id] {
		keys := map[fleet.Key]struct{}{}
		s.selectors.candidates(keys, ls.set)
		for key := range keys {
			if pl := s.placements[key]; pl != nil {
				seen[pl] = struct{}{}
			}
		}
	}
	delete(s.relabelled, id)
	if dev := s.view.Devices[id]; dev != nil {
		for p := range dev.Assignments {
			if pl := s.placements[*p.Key]; pl != nil {
				seen[pl] = struct{}{}
			} else if p.Leaving() {
				s.noteLeaver(*p.Key, id)
			}
		}
	}
	for pl := range seen {
		s.put(pl, id)
	}
}

// put gives a device its place in a placement, or takes it out where it has none.
func (s *State) put(pl *placement, id string) {
	p := pl.places[id]
	pair := s.pair(id, pl.key.Name)
	has := pair != nil && pair.Deployment == pl.phase.log
	leaving := pair != nil && pair.Leaving() && *pair.Key == pl.key
	if !has && !leaving && !s.matches(pl, id, has) {
		if p != nil {
			s.take(p)
		}
		return
	}
	if p == nil {
		p = &place{of: pl, id: id, order: fleet.Order(pl.key, id), index: -1, dueIndex: -1}
		pl.places[id] = p
		s.placesOf[id] = append(s.placesOf[id], p)
	}
	s.classify(p)
}

// matches says whether a Deployment is for a device: its labels match, or it has the
// Deployment and no Device object says otherwise.
func (s *State) matches(pl *placement, id string, has bool) bool {
	ls, known := s.devices[id]
	if !known {
		return has
	}
	return !s.out(id) && s.specs[pl.key].Selector.Matches(ls.set)
}

// take takes a place out of its placement.
func (s *State) take(p *place) {
	p.account(-1)
	p.leaveQueues()
	delete(p.of.places, p.id)
	others := s.placesOf[p.id]
	for i, o := range others {
		if o == p {
			others[i] = others[len(others)-1]
			others[len(others)-1] = nil
			others = others[:len(others)-1]
			break
		}
	}
	if len(others) == 0 {
		delete(s.placesOf, p.id)
	} else {
		s.placesOf[p.id] = others
	}
}

// account adds a place to the counts of its placement, or takes it away.
func (p *place) account(n int) {
	pl, v := p.of, &p.values
	if v.matches {
		pl.matched += n
		pl.standings[v.standing] += n
		if v.online {
			pl.online += n
		}
		if v.failed {
			pl.failed += n
			if !v.gone {
				pl.failedOnline += n
			}
		}
		if v.gone && v.standing != rollout.Healthy {
			pl.absent += n
		}
		pl.noteFailure(p, n)
	}
	if v.judged {
		pl.classes[v.class] += n
		if !v.online {
			pl.offline += n
		}
		if v.awaited {
			pl.awaited += n
		}
		if v.class == rollout.Waiting && v.blocked != "" {
			pl.blocked += n
		}
	}
	if v.disturbed {
		pl.disturbed += n
	}
}

func (p *place) leaveQueues() {
	delete(p.of.fresh, p)
	delete(p.of.strays, p)
	delete(p.of.renumber, p)
	if p.in != nil {
		heap.Remove(p.in, p.index)
		p.in = nil
	}
	if p.parked != nil {
		delete(p.parked.parked, p)
		p.parked = nil
		p.of.parked--
	}
	if p.dueIndex >= 0 {
		heap.Remove(&p.of.due, p.dueIndex)
	}
}

// classify finds out how a device stands now, and changes the counts accordingly.
func (s *State) classify(p *place) {
	p.account(-1)
	p.values = s.valuesOf(p)
	p.account(+1)
	s.enqueue(p)
}

// enqueue puts a place into the queues in which what it owes waits.
func (s *State) enqueue(p *place) {
	p.leaveQueues()
	pl, v := p.of, &p.values
	if !v.until.IsZero() {
		heap.Push(&pl.due, p)
	}
	switch {
	case v.stray:
		pl.strays[p] = struct{}{}
	case v.fresh:
		pl.fresh[p] = struct{}{}
	case v.free:
		pl.renumber[p] = struct{}{}
	case v.owes && v.blocked == "":
		p.in = &pl.up
		if v.broken {
			p.in = &pl.broken
		}
		heap.Push(p.in, p)
	}
}

// valuesOf looks at a device in a Deployment.
func (s *State) valuesOf(p *place) (v placeValues) {
	pl, now := p.of, s.Clock()
	log, run := pl.phase.log, &pl.phase.log.Run
	dev := s.view.Devices[p.id]
	pair := s.pair(p.id, pl.key.Name)
	has := pair != nil && pair.Deployment == log
	labels, known := s.devices[p.id]
	v.matches = s.matches(pl, p.id, has)
	v.online = dev != nil && dev.Presence.Online == fleet.OnlineTrue
	v.gone = dev != nil && dev.Presence.Online == fleet.OnlineFalse
	v.down = dev == nil || dev.Down()
	v.broken = has && (pair.Disturbed() || pair.Failed())
	v.disturbed = has && pair.Disturbed() || pair != nil && pair.Leaving() && *pair.Key == pl.key
	if !v.matches {
		v.stray = has && known && !s.out(p.id) && maps.Equal(dev.Labels, labels.owned) // the log learns the labels first
		return v
	}
	member := rollout.Member(log, pair)
	v.batch = pl.set.BatchOn(log, p.order, pair, labels.set)
	switch {
	case pair != nil && pair.Assigned() && !has:
		v.skipped = v1alpha1.ReasonNameConflict
	case !known || !nameable(p.id):
		v.skipped = v1alpha1.ReasonNoDeviceObject
	default:
		v.skipped, v.blocked = s.dependencies(pl, dev)
	}
	var standsUntil, classUntil time.Time
	v.standing, standsUntil = pl.set.Stand(log, dev, pair, v.skipped != "", now)
	v.failed = member && pair.Failed()
	v.failure = failureOf(pair, v.standing)
	target := pl.set.Target(log, has, v.batch)
	if target != nil && v.skipped == "" {
		differs := !has || pair.Desired.Hash != target.Hash
		switch {
		case !has: // what another Deployment of the name has just let go, it gets once the device took that off
			v.fresh = v.blocked == "" && !s.out(p.id) && (pair == nil || !pair.Leaving())
		case differs:
			v.owes = v.online || rollout.Immediate(run) && !s.budgeted(p.id)
		default:
			v.free = pair.Desired.Revision != target.Revision
		}
	}
	waits := v.online && (v.owes || target != nil && !has && v.skipped == "")
	switch {
	case rollout.Immediate(run):
	case run.Phase == fleet.PhaseRollingBack:
		v.judged = true
		deadline := time.Time{}
		if member {
			deadline = pair.Begun.Add(pl.set.Deadline)
		}
		switch {
		case waits && has:
			v.class = rollout.Waiting
		case member && v.online && !pair.Succeeded() && now.Before(deadline):
			v.class, classUntil = rollout.Open, deadline
		}
	case run.Phase == fleet.PhaseProgressing && v.batch == run.Batch:
		v.judged = true
		v.awaited = !v.online && v.skipped == "" && (pair == nil || !pair.Lost)
		switch {
		case member:
			v.class, classUntil = pl.set.Classify(pair, pl.set.Batch(run, run.Batch).Soak, now)
		case waits:
			v.class = rollout.Waiting
		}
	}
	if v.judged && member && pair.Begun.After(pl.newest) {
		pl.newest = pair.Begun
	}
	v.until = standsUntil
	if v.until.IsZero() || !classUntil.IsZero() && classUntil.Before(v.until) {
		v.until = classUntil
	}
	return v
}

// dependencies says whether the Deployments that a placement depends on let it go to a
// device: skipped where one is not there at all, blocked by the name of one that is not
// healthy there on its own target.
func (s *State) dependencies(pl *placement, dev *fleet.Device) (skipped, blocked string) {
	if len(pl.set.DependsOn) == 0 {
		return "", ""
	}
	if pl.cyclic(s) {
		return "", v1alpha1.ReasonDependencyCycle // it waits, for to skip its devices would complete the run
	}
	missing, blocked := pl.set.Dependency(s.view, pl.key.Namespace, dev)
	if missing != "" {
		return v1alpha1.ReasonDependencyMissing, ""
	}
	return "", blocked
}

// cyclic says whether the Deployment depends on itself.
func (pl *placement) cyclic(s *State) bool {
	return len(pl.set.DependsOn) > 0 && rollout.Cyclic(s.view, pl.key)
}

// batchOf is the batch that an assignment names: that of the device, where what it
// is given is what a moving run brings out.
func (p *place) batchOf(t *fleet.Target) int {
	run := &p.of.phase.log.Run
	if !run.Phase.Moving() || t != &run.Target || run.ID == 0 {
		return 0
	}
	return p.values.batch
}
