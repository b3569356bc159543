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

// course is what the log said of a Deployment.
type course struct {
	spec           Spec
	applied        bool // and neither orphaned nor deleted
	orphaned       bool
	deleted        bool
	hold, paused   bool
	failed         bool // batch_failed, and no person let it go on
	requests       []Request
	run            int // sequence of its rollout.started
	decided        int // of the last event about a run
	batch          int
	batchAt        int64
	kind           string
	target         Target
	plan           []Planned
	shape          string
	passed, free   bool
	approved       bool
	resumed        bool
	stalled        bool
	began          int64         // of the deadlines: the run's start, or a person's resume
	end            eventlog.Type // how the run ended; empty: it goes on, or is paused
	unproven       bool          // it ended, and there was no device
	stable, before Target
	contents       []Target // of the last revisions
	refused        Content
	answers        []Event             // about gates of the open batch
	next           int64               // milliseconds: the rate lets nothing be given before
	burstAt        int64               // when something was given at once
	burst          int                 // how many more devices may be, then
	succeeded      map[int]bool        // assignments of the run that were reported to run
	given          map[string][]Target // what upset a device in this run
	member         map[string]int      // batch of the devices that were given the target
}

// going says whether the run has not ended.
func (c *course) going() bool { return c.run > 0 && c.end == "" }

// paced says whether the run keeps to windows and rate.
func (c *course) paced() bool {
	return c.kind == eventlog.RunUpdate || c.kind == eventlog.RunRestart
}

// shut says whether the run's windows are closed.
func (c *course) shut(now int64) bool { return c.paced() && !c.spec.Window.open(now) }

// rated says whether a rate bounds what the run gives.
func (c *course) rated() bool { return c.paced() && c.spec.Rate.Devices > 0 }

// waitsForRate says whether the rate lets nothing be given.
func (c *course) waitsForRate(now int64) bool { return c.rated() && now*1000 < c.next }

// pace holds an assignment against the rate: a second's devices at once, and then none
// before their time is over.
func (c *course) pace(e Event) error {
	switch {
	case !c.rated():
	case !c.waitsForRate(e.Decided):
		c.burstAt, c.burst = e.Decided, c.spec.Rate.burst(len(c.succeeded))-1
	case c.burstAt == e.Decided && c.burst > 0:
		c.burst--
	default:
		return fmt.Errorf("the rate lets nothing be given before %d ms", c.next)
	}
	return nil
}

// still says whether nothing may be replaced.
func (c *course) still() bool { return c.hold || c.paused || c.spec.Paused }

// through says whether the open batch is behind the run, but for an approval.
func (c *course) through() bool {
	return c.passed || c.failed && c.spec.OnFailure == eventlog.OnFailureContinue
}

// last says whether the open batch is the last one.
func (c *course) last() bool { return c.batch >= len(c.plan) }

// settings gives those of the open batch, as they are now.
func (c *course) settings() Batch {
	bs := c.spec.batches()
	if c.kind == eventlog.RunImmediate || len(c.plan) == 1 && len(c.spec.Batches) == 0 {
		return Batch{}
	}
	return bs[min(max(c.batch, 1), len(bs))-1]
}

// witness is what the log said of a device.
type witness struct {
	labels Labels // nil: it has no Device object
	known  Labels // what the log last said of them
	online bool
	names  map[string]*fate
}

// fate is what the log said of a name on a device.
type fate struct {
	holder, leaving string
	target          Target
	changed, told   int
	changedAt       int64
	upset           bool // by the last change of the hash
	lost, off       bool
	phase           eventlog.Phase
	older           bool // the report names hash and revision, and no assignment
	spoke           Target
	toldAt          int

	well, failing     bool
	ran, back         bool  // it ran; it is well because it is online again
	wellAt, failingAt int64 // since when it is well and online, and since when it fails
}

// note notes since when a name is as it is.
func (f *fate) note(online bool, at int64) {
	if well := online && f.is(eventlog.PhaseRunning); well != f.well {
		f.well, f.wellAt, f.back = well, at, well && f.ran
	}
	f.ran = f.is(eventlog.PhaseRunning)
	f.back = f.back && f.ran
	if failing := f.is(eventlog.PhaseFailed); failing != f.failing {
		f.failing, f.failingAt = failing, at
	}
}

func (f *fate) is(p eventlog.Phase) bool {
	if f.older { // "it has the desired hash, the desired revision, and is later in the log than that assignment"
		return f.holder != "" && f.spoke == f.target && f.toldAt > f.changed && f.phase == p
	}
	return f.holder != "" && f.told >= f.changed && f.phase == p
}

// fits says whether the value that was filled in is the one that would be now.
func (f *fate) fits(w *witness) bool {
	value, filled := f.target.Content.value(w.known)
	return filled && f.target.Value == value
}

func (w *witness) disturbed(f *fate) bool {
	if f.holder == "" {
		return f.leaving != "" && w.online && f.phase != ""
	}
	return f.upset && !f.off && !f.is(eventlog.PhaseRunning)
}

func (w *witness) down() bool {
	for _, f := range w.names {
		if w.disturbed(f) || f.is(eventlog.PhaseFailed) {
			return true
		}
	}
	return !w.online
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
