package rollouttest

import (
	"cmp"
	"math"
	"slices"

	"fleet.nationtech.io/eventlog"
)

// ledger is what budgets have left within one Release.
type ledger struct {
	*State
	disturbed map[string]int             // by Deployment
	down      map[string]bool            // by device
	groups    map[string]map[string]room // by budget and group
	// changed devices get nothing more in this call: whether they are down, and what is
	// healthy on them, is not what the fold says any more.
	changed map[string]bool
}

// room is a group's devices that are down, of at most so many.
type room struct{ down, limit int }

func (s *State) ledger() *ledger {
	l := &ledger{State: s, disturbed: map[string]int{}, down: map[string]bool{}, groups: map[string]map[string]room{}, changed: map[string]bool{}}
	for _, dev := range s.Devices {
		l.down[dev.ID] = dev.down()
		for _, p := range dev.Pairs {
			if dev.disturbed(p) {
				l.disturbed[p.Deployment+p.Leaving]++
			}
		}
	}
	for name, b := range s.Budgets {
		sizes := map[string]int{}
		l.groups[name] = map[string]room{}
		for _, dev := range s.Devices {
			if b.Selector.selects(dev.Labels) {
				g := dev.Labels[b.GroupBy]
				r := l.groups[name][g]
				if l.down[dev.ID] {
					r.down++
				}
				sizes[g]++
				r.limit = b.limit(sizes[g])
				l.groups[name][g] = r
			}
		}
	}
	return l
}

// limit is how many of a group's devices may be down.
func (b Budget) limit(devices int) int {
	if b.MinAvailable != nil {
		return devices - b.MinAvailable.Of(devices)
	}
	return b.MaxUnavailable.Of(devices)
}

// take reserves that a device becomes unavailable through a Deployment, where there is
// room. It costs no DisruptionBudget where the device is down already, and no
// maxUnavailable where the name itself is.
func (l *ledger) take(d *Deployment, dev *Device, p *Pair, most int) bool {
	broken := dev.disturbed(p) || p.Failed()
	if !broken && l.disturbed[d.Key] >= most {
		return false
	}
	for name, b := range l.Budgets {
		r := l.groups[name][dev.Labels[b.GroupBy]]
		if !l.down[dev.ID] && b.Selector.selects(dev.Labels) && r.down >= r.limit {
			return false
		}
	}
	if !dev.disturbed(p) {
		l.disturbed[d.Key]++
	}
	for name, b := range l.Budgets {
		if !l.down[dev.ID] && b.Selector.selects(dev.Labels) {
			r := l.groups[name][dev.Labels[b.GroupBy]]
			r.down++
			l.groups[name][dev.Labels[b.GroupBy]] = r
		}
	}
	return true
}

// Release gives all that upsets devices: grants, and withdrawals because of labels or
// selectors. Nothing else does, so no two decisions count on the same room.
func (s *State) Release(now int64) []Event {
	l := s.ledger()
	var due []Event
	ds := s.ByApplied()
	slices.SortStableFunc(ds, func(a, b *Deployment) int { return cmp.Compare(a.Run.ID, b.Run.ID) })
	for _, d := range ds {
		due = append(due, l.grants(d, now, d.pace(now))...)
		due = append(due, l.leaving(d)...)
	}
	return due
}

// canGrant says whether a Deployment alone could be granted something.
func (s *State) canGrant(d *Deployment, now int64) bool {
	fresh := func(e Event) bool { return d.held(s.Devices[e.Device]) == nil }
	return len(s.ledger().grants(d, now, math.MaxInt)) > 0 || slices.ContainsFunc(s.place(d), fresh)
}

// urgent gives the devices in the order in which they are served: first those on which
// the name is broken, for it costs nothing; then devices that have nothing, those
// that are down last; then devices that are down; then by order.
func (l *ledger) urgent(d *Deployment) []*Device {
	devs := l.devices(d)
	rank := func(dev *Device) int {
		switch p := d.held(dev); {
		case p != nil && (dev.disturbed(p) || p.Failed()):
			return 0
		case p == nil && !l.down[dev.ID]:
			return 1
		case p == nil:
			return 2
		case l.down[dev.ID]:
			return 3
		}
		return 4
	}
	slices.SortStableFunc(devs, func(a, b *Device) int { return cmp.Compare(rank(a), rank(b)) })
	return devs
}

// grants gives what a Deployment may replace now. While its windows are closed that is what
// is broken, alone. A rate bounds it, and then first assignments too, which place gives
// where there is none.
func (l *ledger) grants(d *Deployment, now int64, pace int) []Event {
	var due []Event
	for _, dev := range l.urgent(d) {
		p := d.held(dev)
		to, batch := l.Target(d, dev)
		if len(due) >= pace {
			break
		}
		if p == nil && d.rated() && l.first(d, dev) && !l.changed[dev.ID] {
			due = append(due, d.assigned(dev, *to, batch))
			l.changed[dev.ID] = true
		}
		if p == nil || to == nil || p.Target.Same(*to) && p.fits(dev) || !l.reachable(d, dev) || l.skipped(d, dev) != "" || l.depends(d, dev) != "" || l.changed[dev.ID] {
			continue
		}
		if d.shut(now) && !dev.disturbed(p) && !p.Failed() {
			continue
		}
		// What is assigned to a device that is offline takes nothing from anybody.
		if !dev.Online || l.take(d, dev, p, d.most(l.State)) {
			due = append(due, d.assigned(dev, *to, batch))
			l.changed[dev.ID] = true
		}
	}
	return due
}

// reachable: what is offline is granted nothing, for it would take it when it comes
// back, past all budgets. Immediate does so where no DisruptionBudget selects.
func (s *State) reachable(d *Deployment, dev *Device) bool {
	if dev.Online || d.Run.Kind != eventlog.RunImmediate {
		return dev.Online
	}
	for _, b := range s.Budgets {
		if b.Selector.selects(dev.Labels) {
			return false
		}
	}
	return true
}

// most is how many devices of a Deployment may be disturbed. Immediate knows no limit
// of its own.
func (d *Deployment) most(s *State) int {
	if d.Run.Kind == eventlog.RunImmediate {
		return len(s.Devices) + 1
	}
	return d.limit(s)
}

func (d *Deployment) limit(s *State) int { return max(1, d.Spec.MaxUnavailable.Of(s.matched(d))) }

// leaving gives the withdrawals from devices that the selector selects no more.
func (l *ledger) leaving(d *Deployment) []Event {
	var due []Event
	immediate := d.Run.Kind == eventlog.RunImmediate
	for _, dev := range l.urgent(d) {
		p := d.held(dev)
		if p == nil || d.matches(dev) || !dev.Online && !immediate || d.still() || d.Lifecycle != eventlog.DeploymentApplied || l.changed[dev.ID] {
			continue
		}
		// What was never reported is not known to run: nothing becomes unavailable.
		if p.Phase == "" || !dev.Online || l.take(d, dev, p, d.limit(l.State)) {
			due = append(due, Event{Type: eventlog.DesiredWithdrawn, Row: "Leave", Deployment: d.Key, Device: dev.ID, Reason: "NotSelected"})
			l.changed[dev.ID] = true
		}
	}
	return due
}

// place gives what replaces nothing: the first assignment on a device, and a new number
// of the same hash. Neither waits for a budget.
func (s *State) place(d *Deployment) []Event {
	var due []Event
	for _, dev := range s.devices(d) {
		to, batch := s.Target(d, dev)
		p := d.held(dev)
		switch {
		case to == nil || s.skipped(d, dev) != "":
		case p == nil && !d.rated() && s.first(d, dev), p != nil && p.Target.Same(*to) && p.fits(dev) && p.Target.Revision != to.Revision:
			due = append(due, d.assigned(dev, *to, batch))
		}
	}
	return due
}

// first says whether a device is to be given the Deployment of which it has nothing.
func (s *State) first(d *Deployment, dev *Device) bool {
	to, _ := s.Target(d, dev)
	p := dev.Pairs[d.Name]
	if to == nil || s.skipped(d, dev) != "" || d.held(dev) != nil || s.depends(d, dev) != "" {
		return false
	}
	return p == nil || p.Deployment != "" || !dev.disturbed(p) // what it had is off the device
}

// Placed gives what a device gets by its own turn of what replaces
// nothing: the first assignment of each Deployment.
func (s *State) Placed(device string) (due []Event) {
	for _, d := range s.ByApplied() {
		for _, e := range s.place(d) {
			if e.Device == device && d.held(s.Devices[device]) == nil {
				due = append(due, e)
			}
		}
	}
	return due
}

func (d *Deployment) assigned(dev *Device, to Target, batch int) Event {
	to.Value, _ = to.Content.value(dev.Known)
	return Event{Type: eventlog.DesiredAssigned, Deployment: d.Key, Device: dev.ID, Target: to, Batch: batch}
}

// withdrawAll: a deletion is at once.
func (s *State) withdrawAll(d *Deployment) []Event {
	var due []Event
	for _, dev := range s.devices(d) {
		if d.held(dev) != nil {
			due = append(due, Event{Type: eventlog.DesiredWithdrawn, Row: "Delete", Deployment: d.Key, Device: dev.ID, Reason: "Deleted"})
		}
	}
	return due
}
