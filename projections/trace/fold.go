package trace

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

const (
	// MaxAge is how long a change is followed at most: then its spans are given as they are.
	MaxAge = 24 * time.Hour
	// linger is how long a change and an assignment are remembered that are through:
	// journals come late.
	linger = 2 * time.Minute
	// MaxAssignments is how many assignments are followed at a time, where Options say nothing else.
	MaxAssignments = 100_000
	// maxUsed is how many ids of assignments are remembered: so many bytes times 30 or so.
	// Beyond it an id follows from the sequence of its event, which is not used twice.
	maxUsed = 4 * MaxAssignments
)

// Options say which spans are given.
type Options struct {
	// Devices is how many assignments of a change have their spans given; those that fail
	// have them beside these. 0: all.
	Devices int
	// Assignments is how many are followed at a time; 0: MaxAssignments.
	Assignments int
	// Untraced follows also the changes whose events name no trace.
	Untraced bool
}

// Fold follows the changes of a log. The zero Fold is not usable: call New.
type Fold struct {
	options  Options
	changes  map[fleet.Key]*change
	runs     map[fleet.Key]run    // the last of each Deployment
	assigned map[pair]*assignment // the last of each device and name
	used     int                  // ids of assignments that are remembered
	clock    time.Time            // the log's
	swept    time.Time
	dropped  uint64
	out      []Span // that ended by the present event
}

// pair is a name on a device.
type pair struct{ device, name string }

// change is what is known of a Deployment's present change.
type change struct {
	key      fleet.Key
	root     eventlog.TraceContext // its span is the change's
	parent   [8]byte
	name     string
	begin    time.Time
	revision uint64
	actor    string
	uid      string
	applied  uint64 // sequence of the last deployment.applied
	run      uint64
	last     uint64 // the last run of the Deployment, also of a change before
	kind     string // of the run
	batch    *batch // the open one; nil: none
	emitted  int    // assignments whose spans are given
	notes    []Note
	devices  map[string]*assignment
	used     map[[8]byte]struct{} // ids of assignments
	quiet    bool                 // no run is of it: its spec is that of one that is over, or it is a deletion
	active   time.Time            // of a quiet one: when an assignment of it last began or ended
	by       uint64               // sequence of the event at which that was
	ended    time.Time            // zero: it goes on
}

// batch is the open batch of a run.
type batch struct {
	number int
	id     [8]byte
	begin  time.Time
	notes  []Note
}

// New makes a fold that knows no change.
func New(o Options) *Fold {
	if o.Assignments == 0 {
		o.Assignments = MaxAssignments
	}
	return &Fold{options: o, changes: map[fleet.Key]*change{}, runs: map[fleet.Key]run{}, assigned: map[pair]*assignment{}}
}

// Dropped counts the assignments that were not followed, as there were too many.
func (f *Fold) Dropped() uint64 { return f.dropped }

// Apply folds an event of the log and gives the spans that ended by it.
func (f *Fold) Apply(e eventlog.Event) []Span {
	f.out = nil
	if e.Recorded.After(f.clock) {
		f.clock = e.Recorded
	}
	switch e.Address.Family {
	case eventlog.FamilyDeployment:
		f.applyDeployment(&e)
	case eventlog.FamilyDesired:
		f.assign(&e)
	case eventlog.FamilyState:
		f.report(&e)
	case eventlog.FamilyAgent:
		f.step(&e)
	}
	f.sweep(&e)
	return f.out
}

// Open gives the spans that go on, as of the last event.
func (f *Fold) Open() []Span {
	f.out = nil
	for _, key := range slices.SortedFunc(maps.Keys(f.changes), fleet.Key.Compare) {
		switch c := f.changes[key]; {
		case c.settled():
			f.emitChange(c, Succeeded, "", "", 0)
		case c.ended.IsZero():
			f.emitChange(c, Unfinished, "", "", 0)
		}
	}
	return f.out
}

// Follows says whether a trace is of a change that is followed, and not through for long.
func (f *Fold) Follows(trace [16]byte) bool {
	for _, c := range f.changes {
		if c.root.TraceID == trace {
			return true
		}
	}
	return false
}

func (f *Fold) applyDeployment(e *eventlog.Event) {
	key := fleet.Key{Namespace: e.Address.Namespace, Name: e.Address.Name}
	c := f.changes[key]
	switch e.Type {
	case eventlog.DeploymentApplied:
		f.begin(key, c, e)
		return
	case eventlog.DeploymentDeleted:
		f.delete(key, c, e)
		return
	case eventlog.DeploymentOrphaned:
		f.end(c, Superseded, string(e.Type), "", e)
		return
	}
	r, err := eventlog.Payload[eventlog.Rollout](*e)
	if err != nil || !strings.HasPrefix(string(e.Type), "rollout.") {
		return
	}
	if e.Type == eventlog.RolloutStarted {
		c = f.restarted(key, c, e)
	}
	f.noteRun(key, e, &r)
	if c == nil || !c.ended.IsZero() {
		return
	}
	f.roll(c, e, &r)
}

// roll folds an event of a rollout.
func (f *Fold) roll(c *change, e *eventlog.Event, r *eventlog.Rollout) {
	switch e.Type {
	case eventlog.RolloutStarted:
		f.endBatch(c, Superseded, "", "", e)
		c.run, c.last, c.kind = e.Sequence, e.Sequence, r.Kind
		f.openBatch(c, 1, e)
		if r.Kind == eventlog.RunRollback {
			c.note(e, r)
		}
	case eventlog.RolloutBatchStarted:
		f.endBatch(c, Succeeded, "", "", e)
		f.openBatch(c, r.Batch, e)
	case eventlog.RolloutBatchSucceeded:
		f.endBatch(c, Succeeded, "", "", e)
	case eventlog.RolloutBatchFailed:
		f.endBatch(c, Failed, r.Reason, r.Message, e)
	case eventlog.RolloutCompleted:
		if r.Reason == fleet.ReasonNoDeviceMatches || !f.runs[c.key].settles(c.revision) { // devices may come, or a run
			c.note(e, r)
			return
		}
		f.end(c, Succeeded, "", "", e)
	case eventlog.RolloutRolledBack:
		if n := f.runs[c.key]; n.revision == 0 || !n.settles(c.revision) {
			c.note(e, r)
			return
		}
		f.end(c, RolledBack, r.Reason, r.Message, e)
	case eventlog.RolloutAborted:
		f.end(c, Aborted, r.Reason, r.Message, e)
	case eventlog.RolloutGateMeasured:
	case eventlog.RolloutSuperseded: // of the run before; the new spec ended its change
	default:
		c.note(e, r)
	}
}

// end ends a change with all that is open of it.
func (f *Fold) end(c *change, how Outcome, reason, message string, e *eventlog.Event) {
	if c == nil || !c.ended.IsZero() {
		return
	}
	if c.settled() {
		how, reason, message = Succeeded, "", ""
	}
	f.emitChange(c, how, reason, message, e.Sequence)
	c.ended = f.clock
	c.batch = nil
	f.used -= len(c.used)
	clear(c.used) // it is given no more assignments
	for _, a := range c.devices {
		if a.ended.IsZero() {
			a.ended = f.clock
		}
	}
}

// emitChange gives the spans of a change that are open, as if they ended now.
func (f *Fold) emitChange(c *change, how Outcome, reason, message string, sequence uint64) {
	for _, device := range slices.Sorted(maps.Keys(c.devices)) {
		if a := c.devices[device]; a.ended.IsZero() {
			f.emitDevice(a, Unfinished, sequence)
		}
	}
	if c.batch != nil {
		of := Unfinished
		if how == Succeeded {
			of = Succeeded
		}
		f.out = append(f.out, f.batchSpan(c, of, "", "", sequence))
	}
	s := c.span(KindChange, c.name, c.root.SpanID, c.parent)
	s.Begin, s.End, s.Outcome, s.Reason, s.Message, s.Sequence = c.begin, later(c.begin, f.clock), how, reason, message, sequence
	if c.settled() { // it was through when its last assignment was
		s.End, s.Sequence = later(c.begin, c.active), c.by
	}
	s.Actor, s.Notes = c.actor, c.notes
	f.out = append(f.out, s)
}

func (f *Fold) openBatch(c *change, number int, e *eventlog.Event) {
	id := c.root.Span("batch", strconv.FormatUint(c.run, 10), strconv.Itoa(number))
	c.batch = &batch{number: number, id: id, begin: later(c.begin, e.Recorded)}
}

// endBatch ends the open batch. A device that has not reported by then is not part of it
// any more.
func (f *Fold) endBatch(c *change, how Outcome, reason, message string, e *eventlog.Event) {
	b := c.batch
	if b == nil {
		return
	}
	for _, device := range slices.Sorted(maps.Keys(c.devices)) {
		if a := c.devices[device]; a.parent == b.id && a.ended.IsZero() {
			f.endDevice(a, Unfinished, e.Sequence)
		}
	}
	f.out = append(f.out, f.batchSpan(c, how, reason, message, e.Sequence))
	c.batch = nil
}

func (f *Fold) batchSpan(c *change, how Outcome, reason, message string, sequence uint64) Span {
	b := c.batch
	name := string(KindBatch)
	if c.kind == eventlog.RunRollback {
		name = "rollback"
	}
	s := c.span(KindBatch, name, b.id, c.root.SpanID)
	s.Begin, s.End, s.Outcome, s.Reason, s.Message = b.begin, later(b.begin, f.clock), how, reason, message
	s.Batch, s.Notes, s.Sequence = b.number, b.notes, sequence
	return s
}

func (c *change) span(k Kind, name string, id, parent [8]byte) Span {
	return Span{TraceID: c.root.TraceID, ID: id, Parent: parent, Kind: k, Name: name, Deployment: c.key, Revision: c.revision, Run: c.run}
}

// note keeps what happened, with the open batch, else with the change.
func (c *change) note(e *eventlog.Event, r *eventlog.Rollout) {
	notes := &c.notes
	if c.batch != nil {
		notes = &c.batch.notes
	}
	if len(*notes) < maxNotes {
		*notes = append(*notes, Note{At: e.Recorded, Name: string(e.Type), Message: cmp.Or(r.Message, r.Reason)})
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
