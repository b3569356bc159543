package fleet

import (
	"strconv"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// Trace says to which trace a Deployment's present change belongs.
type Trace struct {
	// Context is the traceparent of the event that began the change; empty: it is not
	// traced.
	Context string
	// Given is the last context that a person gave. It is used for one change.
	Given string
	// Begun is the event that began the change: deployment.applied, or rollout.started of
	// a run that has a trace of its own.
	Begun Mark
}

// begin notes the trace of a new spec.
func (t *Trace) begin(e *eventlog.Event, s *eventlog.Deployment) {
	t.take(e)
	if t.Context != "" && t.Context != eventlog.TraceOfChange(s.UID, s.Generation).String() {
		t.Given = t.Context
	}
}

// take notes the trace that an event names. An event that names none ends the one before.
func (t *Trace) take(e *eventlog.Event) {
	if _, err := eventlog.ParseTraceContext(e.Traceparent); err != nil {
		t.Context, t.Begun = "", Mark{}
		return
	}
	if e.Traceparent != t.Context { // else the log learned more of the same change
		t.Context, t.Begun = strings.Clone(e.Traceparent), markOf(e)
	}
}

// Root is the context of the change's outermost span; ok is false where the change is not
// traced.
func (t *Trace) Root(s *eventlog.Deployment) (root eventlog.TraceContext, ok bool) {
	root, err := eventlog.ParseTraceContext(t.Context)
	if err != nil {
		return root, false
	}
	if t.Context == t.Given { // its span is the parent of the outermost one
		root.SpanID = root.Span("root", s.UID, strconv.FormatInt(s.Generation, 10))
	}
	return root, true
}

// TraceRoot is the context of the outermost span of what goes on with the Deployment: its present
// change, or its deletion. ok is false where it is not traced. Nothing is kept of a deletion's
// trace: it follows from what was deleted, so only who traces at all may ask for it.
func (d *Deployment) TraceRoot() (root eventlog.TraceContext, ok bool) {
	if d.Lifecycle == Deleted {
		return d.TraceOfDelete(), true
	}
	return d.Trace.Root(&d.Spec)
}

// TraceOfDelete is the context of the Deployment's deletion.
func (d *Deployment) TraceOfDelete() eventlog.TraceContext {
	return eventlog.TraceOfDelete(d.Spec.UID, d.Applied.Sequence)
}

// Through says whether the present change is over: its run came to an end, and the spec
// asks for no other one. A new selector or new settings begin no run: such a change is over
// at once. A run without a device is not over, as devices may come.
func (d *Deployment) Through() bool {
	run := &d.Run
	switch run.Phase {
	case PhaseCompleted, PhaseRolledBack, PhaseAborted:
		if run.Phase == PhaseCompleted && run.Reason == ReasonNoDeviceMatches {
			return false
		}
		return d.Rejected == d.Spec.ScoreHash || run.Kind != eventlog.RunRollback && run.Target.Revision == d.Spec.Revision
	}
	return d.Lifecycle != Applied
}

// OfChange says whether what is assigned to a device, or withdrawn from it, belongs to the
// present change, or to the Deployment's deletion. After a change that began no run it does where the device had its labels
// before the spec came: then the device is given something because of the spec.
func (d *Deployment) OfChange(dev *Device) bool {
	if !d.Through() {
		return true
	}
	if d.Lifecycle == Deleted {
		return true // what is withdrawn is so because of the deletion
	}
	return dev != nil && d.Lifecycle == Applied && d.Run.ID < d.Applied.Sequence && dev.LabelsSequence < d.Applied.Sequence
}
