package rollouttest

import (
	"fmt"

	"fleet.nationtech.io/eventlog"
)

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
