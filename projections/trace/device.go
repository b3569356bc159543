package trace

import (
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// assignment is what a device was given, or what was withdrawn from it.
type assignment struct {
	of        *change
	device    string
	id        [8]byte
	parent    [8]byte
	batch     int
	sequence  uint64
	revision  uint64
	hash      string // of what was given
	withdrawn bool
	begin     time.Time
	emitted   bool      // its spans are given
	ended     time.Time // zero: it goes on

	reason, message string // of the last report that tells a failure; empty: it tells none

	started time.Time // when the last service was started
	running time.Time // when the device says that all runs
	ready   bool      // its span was given
}

// assign folds a desired event.
func (f *Fold) assign(e *eventlog.Event) {
	c := f.ofDesired(e)
	p := pair{e.Address.Device, e.Address.Deployment}
	if before := f.assigned[p]; before != nil {
		if before.ended.IsZero() {
			f.endDevice(before, Superseded, e.Sequence)
		}
		delete(f.assigned, p)
		delete(before.of.devices, p.device)
	}
	if c == nil {
		return
	}
	if len(f.assigned) >= f.options.Assignments {
		f.dropped++
		return
	}
	a := &assignment{
		of: c, device: p.device, parent: c.root.SpanID, batch: e.Batch, sequence: e.Sequence, revision: e.Revision,
		withdrawn: e.Type == eventlog.DesiredWithdrawn, begin: later(c.begin, e.Recorded),
		id: f.idOf(c, e),
	}
	if !a.withdrawn {
		a.hash = eventlog.Hash(e.Data)
	}
	if b := c.batch; b != nil && e.Batch == b.number {
		a.parent, a.begin = b.id, later(b.begin, e.Recorded)
	}
	if a.emitted = f.options.Devices == 0 || c.emitted < f.options.Devices; a.emitted {
		c.emitted++
	}
	f.assigned[p], c.devices[p.device], c.active, c.by = a, a, f.clock, e.Sequence
}

// idOf gives the id of an assignment's span: the one that the device was given.
func (f *Fold) idOf(c *change, e *eventlog.Event) [8]byte {
	said, err := eventlog.ParseTraceContext(e.Traceparent)
	if err != nil || said.TraceID != c.root.TraceID {
		said = c.root.OfAssignment(e.Subject, e.Type, e.Revision, e.Batch, eventlog.Hash(e.Data))
	}
	_, again := c.used[said.SpanID] // the device was given the same before, in the same change
	if again || f.used >= maxUsed {
		return c.root.Span("again", strconv.FormatUint(e.Sequence, 10))
	}
	c.used[said.SpanID] = struct{}{}
	f.used++
	return said.SpanID
}

// ofDesired gives the change that a desired event belongs to; nil: none.
func (f *Fold) ofDesired(e *eventlog.Event) *change {
	c := f.changes[fleet.Key{Namespace: e.Namespace, Name: e.Address.Deployment}]
	if c == nil || !c.ended.IsZero() {
		return nil
	}
	said, err := eventlog.ParseTraceContext(e.Traceparent)
	if err == nil && said.TraceID == c.root.TraceID || err != nil && f.options.Untraced {
		return c
	}
	return nil
}

// report folds what a device says of what it was given.
func (f *Fold) report(e *eventlog.Event) {
	a := f.assigned[pair{e.Address.Device, e.Address.Deployment}]
	if a == nil || !a.ended.IsZero() {
		return
	}
	if e.Type == eventlog.StateCleared {
		if a.withdrawn {
			f.reported(a, e, e.Time, "cleared", Succeeded, "", "")
			f.endDevice(a, Succeeded, e.Sequence)
		}
		return
	}
	s, err := e.State()
	if err != nil || a.withdrawn || s.Assignment != a.sequence && (s.Assignment != 0 || s.ScoreHash != a.hash) {
		return
	}
	a.reason, a.message = "", ""
	how := Succeeded
	if s.Phase == eventlog.PhaseFailed {
		how, a.reason = Failed, strings.Clone(s.Reason)
		if a.reason == "" {
			a.reason = string(s.Phase)
		}
		if s.LastError != nil {
			a.message = *s.LastError
		}
	}
	begin := f.reported(a, e, s.LastEventAt, string(s.Phase), how, s.Reason, a.message)
	if s.Phase == eventlog.PhaseRunning {
		a.running = begin
		f.emitReady(a, e.Sequence)
		f.endDevice(a, Succeeded, e.Sequence)
	}
}

// reported gives the span of a report, and the moment at which what it tells came to be.
func (f *Fold) reported(a *assignment, e *eventlog.Event, at time.Time, phase string, how Outcome, reason, message string) time.Time {
	if at.IsZero() {
		at = e.Recorded
	}
	s := a.span(KindReport, "report "+strings.ToLower(phase), a.of.root.Span("report", string(a.id[:]), nameOf(e)), a.id)
	s.Begin, s.End, s.Adjusted = place(at, e.Recorded, a.begin, f.clock)
	if at.Before(a.begin) { // a report tells what is, so its beginning may be before what it is about
		s.Begin = a.begin
	}
	s.Outcome, s.Reason, s.Message, s.Sequence = how, reason, message, e.Sequence
	if a.emitted || how == Failed {
		f.out = append(f.out, s)
	}
	if how == Failed {
		a.emitted = true // its parent is needed
	}
	return s.Begin
}

// step folds an event of an agent's journal.
func (f *Fold) step(e *eventlog.Event) {
	switch e.Type {
	case eventlog.AgentStepSucceeded, eventlog.AgentStepFailed, eventlog.AgentDriftRepaired:
	default:
		return
	}
	p, err := eventlog.Payload[eventlog.Step](*e)
	if err != nil {
		return
	}
	a := f.assigned[pair{e.Address.Device, p.Deployment}]
	if a == nil || p.Revision != a.revision && !a.withdrawn {
		return
	}
	to := e.Recorded
	if !a.ended.IsZero() {
		to = earlier(to, a.ended)
		if p.At.After(a.ended.Add(clockSlack)) && e.Recorded.Sub(a.ended) > linger {
			return // what happens to it later is not of the change
		}
	}
	s := a.span(KindStep, p.Step, a.of.root.Span("step", string(a.id[:]), nameOf(e)), a.id)
	took := time.Duration(p.Duration * float64(time.Second))
	s.Begin, s.End, s.Adjusted = place(p.At.Add(-took), p.At, a.begin, to)
	s.Service, s.Outcome, s.Reason, s.Message, s.Sequence = p.Service, Succeeded, p.Reason, p.Error, e.Sequence
	if e.Type == eventlog.AgentStepFailed {
		s.Outcome = Failed
	}
	if s.Outcome == Failed && a.ended.IsZero() {
		a.emitted = true
	}
	if !a.emitted {
		return
	}
	f.out = append(f.out, s)
	f.emitParts(a, &s, &p)
	if s.Outcome == Succeeded && strings.HasSuffix(p.Step, "start") {
		a.started = later(a.started, s.End)
		f.emitReady(a, e.Sequence)
	}
}

// emitParts gives the spans of the steps that were done in a row, each after the other.
func (f *Fold) emitParts(a *assignment, row *Span, p *eventlog.Step) {
	verbs := strings.Split(p.Step, "+")
	if len(verbs) != len(p.Seconds) || len(verbs) < 2 {
		return
	}
	at := row.Begin
	for i, verb := range verbs {
		s := *row
		s.ID, s.Parent, s.Name = a.of.root.Span("part", string(row.ID[:]), strconv.Itoa(i)), row.ID, verb
		s.Begin = at
		s.End = earlier(at.Add(time.Duration(max(0, p.Seconds[i])*float64(time.Second))), row.End)
		at = s.End
		f.out = append(f.out, s)
	}
}

// emitReady gives the span of the time for which the device waited for its services to run, or to be healthy,
// once both ends are known.
func (f *Fold) emitReady(a *assignment, sequence uint64) {
	if a.ready || !a.emitted || a.started.IsZero() || a.running.IsZero() {
		return
	}
	a.ready = true
	s := a.span(KindReady, string(KindReady), a.of.root.Span("ready", string(a.id[:])), a.id)
	s.Begin, s.End, s.Outcome, s.Sequence = earlier(a.started, a.running), a.running, Succeeded, sequence
	f.out = append(f.out, s)
}

func (f *Fold) endDevice(a *assignment, how Outcome, sequence uint64) {
	f.emitDevice(a, how, sequence)
	a.ended, a.of.active, a.of.by = f.clock, f.clock, sequence
}

// emitDevice gives the span of an assignment as if it ended now. What failed last has
// failed.
func (f *Fold) emitDevice(a *assignment, how Outcome, sequence uint64) {
	s := a.span(KindDevice, string(KindDevice), a.id, a.parent)
	if a.withdrawn {
		s.Name = "withdraw"
	}
	s.Begin, s.End, s.Outcome, s.Sequence = a.begin, later(a.begin, f.clock), how, sequence
	if how != Succeeded && a.reason != "" {
		s.Outcome, s.Reason, s.Message = Failed, a.reason, a.message
	}
	if a.emitted || s.Outcome == Failed {
		f.out = append(f.out, s)
	}
}

func (a *assignment) span(k Kind, name string, id, parent [8]byte) Span {
	s := a.of.span(k, name, id, parent)
	s.Device, s.Revision, s.Batch = a.device, a.revision, a.batch
	return s
}

// nameOf identifies an event in its log.
func nameOf(e *eventlog.Event) string {
	if e.ID != "" {
		return e.ID
	}
	return strconv.FormatUint(e.Sequence, 10)
}
