package decide

import (
	"container/heap"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/eventlog"
)

// budgetLedger is a DisruptionBudget on all the devices that it selects, kept by what
// changes.
type budgetLedger struct {
	name     string
	selector labels.Selector
	max, min *eventlog.Amount
	groupBy  []string
	groups   map[string]*budgetGroup
	devices  map[string]*budgetMember
	blocked  map[string]int            // devices that wait for it, each with the number of Deployments for which it does
	eased    map[*budgetGroup]struct{} // the state's, of all budgets
}

// budgetGroup is the devices of a budget with the same values of its groupBy labels:
// they share one budget.
type budgetGroup struct {
	of      *budgetLedger
	name    string // the values
	members int
	down    int
	spent   int // by the present call of Release
	// parked are the places that wait until it has room, of each Deployment in the order
	// in which they are served.
	parked map[waiters]*orderHeap
}

// waiters are the places of a Deployment that wait for a group: those that are to be given
// something, or those that leave, whom neither windows nor rate hold back.
type waiters struct {
	of    *placement
	stray bool
}

func (p *place) waiters() waiters { return waiters{p.of, p.stray} }

type budgetMember struct {
	group  *budgetGroup
	labels *deviceLabels // by which it is in the group
	down   bool
}

// allowed is how many devices of the group may be down.
func (g *budgetGroup) allowed() int {
	if g.of.max != nil {
		return g.of.max.Of(g.members)
	}
	return max(0, g.members-g.of.min.Of(g.members))
}

// room is how many more devices of the group may go down.
func (g *budgetGroup) room() int { return g.allowed() - g.down - g.spent }

// putBudget takes a DisruptionBudget that binds into account.
func (s *State) putBudget(name string, sel labels.Selector, maxUnavailable, minAvailable *eventlog.Amount, groupBy []string) {
	s.dropBudget(name)
	if maxUnavailable == nil && minAvailable == nil {
		return
	}
	b := &budgetLedger{
		name: name, selector: sel, max: maxUnavailable, min: minAvailable, groupBy: groupBy,
		groups: map[string]*budgetGroup{}, devices: map[string]*budgetMember{}, blocked: map[string]int{}, eased: s.eased,
	}
	s.ledgers[name] = b
	s.budgetChanges++
	for id := range s.devices {
		s.moveInBudget(b, id)
	}
	s.staleAll()
}

// dropBudget ends a budget.
func (s *State) dropBudget(name string) {
	b := s.ledgers[name]
	if b == nil {
		return
	}
	delete(s.ledgers, name)
	s.budgetChanges++
	for _, g := range b.groups {
		for _, h := range g.parked {
			for len(*h) > 0 {
				s.enqueue((*h)[0])
			}
		}
		delete(s.eased, g)
	}
	s.staleAll()
}

// staleAll: what concerns all Deployments changed.
func (s *State) staleAll() {
	for key := range s.placements {
		s.stale[key] = struct{}{}
	}
}

// moveInBudgets looks at a device that changed in each budget.
func (s *State) moveInBudgets(id string) {
	for _, b := range s.ledgers {
		s.moveInBudget(b, id)
	}
}

func (s *State) moveInBudget(b *budgetLedger, id string) {
	was, ls := b.devices[id], s.devices[id]
	out := ls == nil || s.out(id)
	if was != nil && was.labels == ls && !out {
		if down := s.down(id); down != was.down {
			if was.down = down; down {
				was.group.down++
			} else {
				was.group.down--
			}
			was.group.ease()
		}
		return
	}
	if was != nil {
		g := was.group
		if was.down {
			g.down--
		}
		g.members--
		delete(b.devices, id)
		g.ease()
		g.drop()
	}
	if out || !b.selector.Matches(ls.set) {
		return
	}
	name := groupName(b.groupBy, ls.set)
	g := b.groups[name]
	if g == nil {
		g = &budgetGroup{of: b, name: name, parked: map[waiters]*orderHeap{}}
		b.groups[name] = g
	}
	m := &budgetMember{group: g, labels: ls, down: s.down(id)}
	if g.members++; m.down {
		g.down++
	}
	b.devices[id] = m
	g.ease()
}

func (s *State) down(id string) bool {
	dev := s.view.Devices[id]
	return dev == nil || dev.Down()
}

// groupName is the values of the labels by which a budget groups devices. A label that
// a device does not have counts as the empty value.
func groupName(keys []string, set labels.Set) string {
	values := make([]string, len(keys))
	for i, k := range keys {
		values[i] = set[k]
	}
	return strings.Join(values, ",")
}

// budgeted says whether a DisruptionBudget selects a device.
func (s *State) budgeted(id string) bool {
	for _, b := range s.ledgers {
		if b.devices[id] != nil {
			return true
		}
	}
	return false
}

// fullGroup gives a group of a budget that has no room for the device to go down; nil:
// each has.
func (s *State) fullGroup(id string) *budgetGroup {
	var full *budgetGroup
	for _, b := range s.ledgers {
		m := b.devices[id]
		if m != nil && !m.down && m.group.room() <= 0 && (full == nil || b.name < full.of.name) {
			full = m.group
		}
	}
	return full
}

// spend counts a device that goes down through the present call of Release.
func (s *State) spend(id string) {
	for _, b := range s.ledgers {
		if m := b.devices[id]; m != nil && !m.down {
			m.group.spent++
			s.spent = append(s.spent, m.group)
		}
	}
}

// park lets a place wait until a group has room.
func (g *budgetGroup) park(p *place) {
	h := g.parked[p.waiters()]
	if h == nil {
		h = &orderHeap{}
		g.parked[p.waiters()] = h
	}
	p.wait(h)
	p.group = g
	p.of.parked++
	g.of.blocked[p.id]++
}

// unpark ends that.
func (g *budgetGroup) unpark(p *place) {
	heap.Remove(p.in, p.index)
	if len(*p.in) == 0 {
		delete(g.parked, p.waiters())
	}
	p.in, p.group = nil, nil
	p.of.parked--
	if g.of.blocked[p.id]--; g.of.blocked[p.id] == 0 {
		delete(g.of.blocked, p.id)
	}
	g.drop()
}

// drop forgets a group that nobody is in.
func (g *budgetGroup) drop() {
	if g.members == 0 && len(g.parked) == 0 {
		delete(g.of.groups, g.name)
		delete(g.of.eased, g)
	}
}

// ease notes that places which wait for the group may go on.
func (g *budgetGroup) ease() {
	if len(g.parked) > 0 {
		g.of.eased[g] = struct{}{}
	}
}

// release lets the first places of a Deployment go on that wait for the group, as many
// as it has room for. Where one of them waits for something else as well, another goes on
// for it: see refill.
func (g *budgetGroup) release(w waiters, most int) {
	for range most {
		h := g.parked[w]
		if h == nil {
			return
		}
		p := (*h)[0]
		g.unpark(p)
		p.from = g
		if p.stray {
			p.wait(&w.of.leaving)
		} else {
			p.wait(&w.of.up)
		}
	}
}

// unpark lets places that waited for a budget go on whose groups have room again.
func (s *State) unpark() {
	for g := range s.eased {
		delete(s.eased, g)
		if room := g.room(); room > 0 {
			for w := range g.parked {
				g.release(w, room)
			}
		}
	}
}

func byOrder(a, b *place) int {
	switch {
	case a.order < b.order:
		return -1
	case a.order > b.order:
		return 1
	}
	return a.of.key.Compare(b.of.key)
}

// settleBudgets ends a call of Release: the fold counts from now on what it spent.
func (s *State) settleBudgets() {
	for _, g := range s.spent {
		g.spent = 0
		g.ease() // what it gave may not come into the log
	}
	s.spent = s.spent[:0]
}

// BudgetUse is how much of a DisruptionBudget is used, and what waits for it.
type BudgetUse struct {
	Matched   int // devices that it selects
	Down      int
	Groups    int
	Allowed   int               // how many may be down in the tightest group: the one with the least left
	Remaining int               // how many more may go down there; 0 where there is no group
	Tightest  map[string]string // its labels; nil without groupBy
	Blocked   int               // devices that wait for the budget
	Examples  []string          // of those, 5 at most
}

// BudgetUse gives how much of a budget is used; false where no such budget binds.
func (s *State) BudgetUse(name string) (u BudgetUse, ok bool) {
	s.refresh()
	b := s.ledgers[name]
	if b == nil {
		return u, false
	}
	u.Matched, u.Groups, u.Blocked = len(b.devices), len(b.groups), len(b.blocked)
	var tightest *budgetGroup
	for _, g := range b.groups {
		u.Down += g.down
		if tightest == nil || g.room() < tightest.room() || g.room() == tightest.room() && g.name < tightest.name {
			tightest = g
		}
	}
	if tightest != nil {
		u.Allowed, u.Remaining, u.Tightest = tightest.allowed(), max(0, tightest.room()), tightest.labels()
	}
	for id := range b.blocked {
		u.Examples = keepFirst(u.Examples, id, maxBlockedExamples)
	}
	return u, true
}

// BudgetFigures is how many devices a DisruptionBudget concerns, all its groups together.
type BudgetFigures struct {
	Selected int
	Down     int
	Allowed  int // may be down
	Blocked  int // wait for the budget
}

// BudgetFigures iterates over the budgets that bind. That costs by group, not by device.
func (s *State) BudgetFigures(yield func(name string, n BudgetFigures) bool) {
	s.refresh()
	for name, b := range s.ledgers {
		n := BudgetFigures{Selected: len(b.devices), Blocked: len(b.blocked)}
		for _, g := range b.groups {
			n.Down += g.down
			n.Allowed += g.allowed()
		}
		if !yield(name, n) {
			return
		}
	}
}

// maxBlockedExamples is how many of the devices that wait for a budget are named.
const maxBlockedExamples = 5

// labels are those that the devices of the group share.
func (g *budgetGroup) labels() map[string]string {
	if len(g.of.groupBy) == 0 {
		return nil
	}
	values := strings.Split(g.name, ",") // no label's value has a comma
	m := make(map[string]string, len(values))
	for i, key := range g.of.groupBy {
		m[key] = values[i]
	}
	return m
}
