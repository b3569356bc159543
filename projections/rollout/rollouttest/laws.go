package rollouttest

import (
	"fmt"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// Laws holds a log against the laws of the design's section 12. It reads the log alone
// and keeps a history of its own, so what the engine notes for itself proves nothing.
type Laws struct {
	log         map[string][]Event // by device
	at          int64              // the highest moment in the log
	elected     int64              // when the present leader was elected
	restored    int                // the last sequence that came from an archive
	beside      bool               // devices wrote to the log between a decision and its event
	deployments map[string]*course
	devices     map[string]*witness
	budgets     map[string]Budget
	annotations map[string]Annotation // as the API shows them
}

// NewLaws reads an empty log.
func NewLaws() *Laws {
	return &Laws{log: map[string][]Event{}, deployments: map[string]*course{}, devices: map[string]*witness{}, budgets: map[string]Budget{}, annotations: map[string]Annotation{}}
}

// Check holds the next event of the log against the laws, and remembers it.
func (l *Laws) Check(e Event) error {
	l.at = max(l.at, e.At)
	e.At = l.at // where a server's clock fell back, the log's stands still
	err := l.check(e)
	if err != nil {
		err = fmt.Errorf("event %d, %s of %s %s: %w", e.Sequence, e.Type, e.Deployment, e.Device, err)
	}
	l.remember(e)
	if e.Device != "" {
		l.log[e.Device] = append(l.log[e.Device], e)
	}
	return err
}

func (l *Laws) check(e Event) error {
	c := l.deployments[e.Deployment]
	if c == nil {
		return nil
	}
	switch e.Type {
	case eventlog.DesiredAssigned:
		return l.grant(c, e)
	case eventlog.DesiredWithdrawn:
		w := l.devices[e.Device]
		switch {
		case e.Reason == "Deleted":
			return nil
		case !w.online && c.kind != eventlog.RunImmediate || c.still():
			return fmt.Errorf("law 5: a device leaves while it is offline, or while the Deployment is paused")
		}
		if w.names[nameOf(e.Deployment)].phase == "" || !w.online {
			return nil // nobody ever heard that it runs there, or it is unavailable anyway
		}
		return l.room(c, e)
	case eventlog.RolloutBatchSucceeded:
		if err := l.succeeded(c, e); err != nil {
			return err
		}
	case eventlog.RolloutRolledBack:
		if err := l.rolledBack(c, e); err != nil {
			return err
		}
	case eventlog.RolloutBatchStarted:
		switch {
		case e.Batch != c.batch+1 || !c.through():
			return fmt.Errorf("batch %d starts after batch %d, which is through: %v", e.Batch, c.batch, c.through())
		case c.settings().Manual && !c.approved && !c.free:
			return fmt.Errorf("batch %d starts without approval", e.Batch)
		case c.shut(e.Decided):
			return fmt.Errorf("batch %d starts while the windows are closed", e.Batch)
		}
	}
	if l.beside || !strings.HasPrefix(string(e.Type), "rollout.") || e.Type == eventlog.RolloutGateMeasured {
		return nil
	}
	return l.row(c, e)
}

// grant: the laws of an assignment.
func (l *Laws) grant(c *course, e Event) error {
	w := l.devices[e.Device]
	f := w.names[nameOf(e.Deployment)]
	upsets := f != nil && f.holder == e.Deployment && (!f.target.Same(e.Target) || f.target.Value != e.Target.Value)
	value, filled := e.Target.Content.value(w.known)
	switch {
	case !filled || value != e.Target.Value:
		return fmt.Errorf("section 8: %q is filled in, and the device has the labels %v", e.Target.Value, w.known)
	case !c.applied || !c.spec.Selector.selects(w.labels):
		return fmt.Errorf("the Deployment does not select the device")
	case f != nil && f.holder != "" && f.holder != e.Deployment:
		return fmt.Errorf("the name is held by %s", f.holder)
	case c.spec.Paused:
		return fmt.Errorf("law 5: it is granted while spec.paused")
	case upsets && c.unproven:
		return fmt.Errorf("the content of a run that ended without a device is granted, past all batches")
	case c.refused != "" && c.refused == e.Target.Content:
		return fmt.Errorf("law 4: refused content is granted")
	case (upsets || e.Batch > 0) && c.failed && c.spec.OnFailure != eventlog.OnFailureContinue:
		return fmt.Errorf("law 2: a grant past a failed batch")
	case e.Batch > 0 && (!c.going() || e.Batch > c.batch || !e.Target.Same(c.target)):
		return fmt.Errorf("a grant of batch %d while batch %d is open, or of another target", e.Batch, c.batch)
	}
	if !upsets && f != nil && f.holder != "" {
		return nil // a new number
	}
	if err := c.pace(e); err != nil {
		return err
	}
	for _, on := range c.spec.DependsOn {
		if c.kind == eventlog.RunRollback && upsets {
			break
		}
		g, dep := w.names[nameOf(on)], l.deployments[on]
		if g == nil || dep == nil || g.holder != on || !g.target.Same(dep.target) || !g.is(eventlog.PhaseRunning) {
			return fmt.Errorf("a grant before %s is healthy on the device", on)
		}
	}
	if !upsets {
		return nil
	}
	if !w.online {
		if c.kind != eventlog.RunImmediate || l.budgeted(w) {
			return fmt.Errorf("law 5: a grant upsets a device that is offline")
		}
		return nil
	}
	if c.hold || c.paused {
		return fmt.Errorf("law 5: a grant upsets a device while the Deployment is paused")
	}
	if c.shut(e.Decided) && !w.disturbed(f) && !f.is(eventlog.PhaseFailed) {
		return fmt.Errorf("a grant upsets a device while the windows are closed")
	}
	for i, t := range c.given[e.Device] { // where other labels came between, it may be
		if t.Same(e.Target) && (t.Value == "" || t.Value == e.Target.Value && i == len(c.given[e.Device])-1) {
			return fmt.Errorf("law 4: the device is given the same twice in one run")
		}
	}
	return l.room(c, e)
}

func (l *Laws) budgeted(w *witness) bool {
	for _, b := range l.budgets {
		if b.Selector.selects(w.labels) {
			return true
		}
	}
	return false
}

// room: law 1, before the event.
func (l *Laws) room(c *course, e Event) error {
	w, name := l.devices[e.Device], nameOf(e.Deployment)
	f := w.names[name]
	matched, disturbed := 0, 0
	for _, x := range l.devices {
		g := x.names[name]
		if c.spec.Selector.selects(x.labels) || x.labels == nil && g != nil && g.holder == e.Deployment {
			matched++
		}
		if g != nil && (g.holder == e.Deployment || g.holder == "" && g.leaving == e.Deployment) && x.disturbed(g) {
			disturbed++
		}
	}
	most := max(1, c.spec.MaxUnavailable.Of(matched))
	free := w.disturbed(f) || f.is(eventlog.PhaseFailed) || e.Type == eventlog.DesiredAssigned && c.kind == eventlog.RunImmediate
	if !free && disturbed >= most {
		return fmt.Errorf("law 1: %d of at most %d devices are disturbed already", disturbed, most)
	}
	if w.down() {
		return nil
	}
	for name, b := range l.budgets {
		if !b.Selector.selects(w.labels) {
			continue
		}
		down, size := 0, 0
		for _, x := range l.devices {
			if b.Selector.selects(x.labels) && x.labels[b.GroupBy] == w.labels[b.GroupBy] {
				size++
				if x.down() {
					down++
				}
			}
		}
		if down >= b.limit(size) {
			return fmt.Errorf("law 1: %d devices are down already; budget %s allows %d of %d", down, name, b.limit(size), size)
		}
	}
	return nil
}

// succeeded: law 3, by reading the log of each single device again.
func (l *Laws) succeeded(c *course, e Event) error {
	if c.free {
		return nil
	}
	soak := c.settings().Soak
	count, bad, proven := 0, 0, 0
	for id, w := range l.devices {
		if !l.matches(c, e.Deployment, w) || l.batchOf(c, e.Deployment, id, w) != c.batch {
			continue
		}
		f := w.names[nameOf(e.Deployment)]
		switch {
		case f == nil || f.holder != e.Deployment || !f.target.Same(c.target) || !f.fits(w):
		case l.since(e, id, c.target, eventlog.PhaseRunning) >= soak:
			proven++
			count++
		case f.well && f.back: // it was away, and nothing says that it does not run it well
		case w.online || f.upset && !f.is(eventlog.PhaseRunning) || f.is(eventlog.PhaseFailed):
			count++
			bad++ // whatever is not proven when a batch is judged is bad
		}
	}
	unneeded := c.batch >= len(c.plan) || c.plan[c.batch-1].Size == 0
	switch {
	case proven == 0 && !unneeded:
		return fmt.Errorf("law 3: no device was healthy for the soak of %d s", soak)
	case bad > count*(100-c.spec.Threshold)/100:
		return fmt.Errorf("law 3: %d of %d devices are bad", bad, count)
	}
	return nil
}

// rolledBack: nothing that can answer is still at work on a rollback that is through.
func (l *Laws) rolledBack(c *course, e Event) error {
	for id, w := range l.devices {
		f := w.names[nameOf(e.Deployment)]
		if f == nil || f.holder != e.Deployment || !w.online || w.labels == nil || !c.spec.Selector.selects(w.labels) {
			continue
		}
		working := !f.is(eventlog.PhaseRunning) && e.Decided-max(f.changedAt, c.began) < c.spec.Deadline
		if _, filled := c.target.Content.value(w.known); !filled {
			continue // it can be given nothing
		}
		if working || !f.target.Same(c.target) || !f.fits(w) {
			return fmt.Errorf("it is rolled back, and %s has %+v and is at work: %v", id, f.target, working)
		}
	}
	return nil
}

// since reads for how long a device has been online and has said a phase of the target,
// up to the event; -1: it does not.
func (l *Laws) since(e Event, id string, target Target, phase eventlog.Phase) int64 {
	f := fate{}
	online, is, at := false, false, int64(0)
	for _, x := range l.log[id] {
		if x.Deployment != "" && nameOf(x.Deployment) != nameOf(e.Deployment) {
			continue
		}
		switch x.Type {
		case eventlog.DeviceOnline, eventlog.DeviceOffline:
			online = x.Type == eventlog.DeviceOnline
		default:
			f.fold(x, online)
		}
		now := online && f.is(phase) && f.holder == e.Deployment && f.target.Same(target)
		if now && !is {
			at = x.At
		}
		is = now
	}
	if !is {
		return -1
	}
	return e.Decided - at
}

func (l *Laws) batchOf(c *course, key, id string, w *witness) int {
	if n := c.member[id]; n > 0 {
		return n
	}
	for i, b := range c.spec.batches() {
		if i < len(c.plan) && c.plan[i].Pinned && b.Pin.selects(w.labels) {
			return i + 1
		}
	}
	for i, b := range c.plan {
		if !b.Pinned && Order(key, id) <= b.Cut {
			return i + 1
		}
	}
	return len(c.plan)
}

func nameOf(key string) string {
	_, name, _ := strings.Cut(key, "/")
	return name
}
