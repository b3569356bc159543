package trace

import (
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// newChange is a change, of which no device has anything yet, that begins with an event.
func newChange(key fleet.Key, root eventlog.TraceContext, name, actor string, e *eventlog.Event) *change {
	return &change{
		key: key, root: root, name: name, begin: earlier(e.Time, e.Recorded), actor: actor,
		devices: map[string]*assignment{}, used: map[[8]byte]struct{}{},
	}
}

// begin notes a new spec: the change before ends, unless it is the same one.
func (f *Fold) begin(key fleet.Key, before *change, e *eventlog.Event) {
	d, err := eventlog.Payload[eventlog.Deployment](*e)
	if err != nil {
		return
	}
	quiet := f.noteSpec(key, &d)
	own := eventlog.TraceOfChange(d.UID, d.Generation)
	said, err := eventlog.ParseTraceContext(e.Traceparent)
	c := newChange(key, own, string(KindChange), d.RequestedBy.Name, e)
	c.revision, c.uid, c.applied = d.Revision, d.UID, e.Sequence
	c.quiet, c.active, c.by = quiet, f.clock, e.Sequence
	switch {
	case err != nil && !f.options.Untraced || err == nil && !said.Sampled() && !f.options.Untraced:
		c = nil
	case err == nil && said.String() != own.String():
		t := fleet.Trace{Context: e.Traceparent, Given: e.Traceparent}
		c.root, _ = t.Root(&d)
		c.parent = said.SpanID
	}
	if c != nil && before != nil && before.root == c.root {
		before.applied = e.Sequence
		return // the reason of the change was said later
	}
	f.end(before, Superseded, "", "", e)
	f.forget(before)
	if c != nil {
		if before != nil {
			c.last = before.last
		}
		f.changes[key] = c
	}
}

// restarted gives the change that a run belongs to: the present one, or one of its own
// where that is through.
func (f *Fold) restarted(key fleet.Key, before *change, e *eventlog.Event) *change {
	root, err := eventlog.ParseTraceContext(e.Traceparent)
	if before != nil && before.ended.IsZero() {
		if !before.quiet || err == nil && root.TraceID == before.root.TraceID {
			before.quiet = false
			return before
		}
		f.end(before, Superseded, "", "", e)
	}
	switch {
	case err == nil && (before == nil || root.TraceID != before.root.TraceID):
	case f.options.Untraced && before != nil:
		root = eventlog.TraceOfRestart(before.uid, e.CausationID, before.last)
	default:
		return nil
	}
	c := newChange(key, root, "run", e.Actor, e)
	if r, err := eventlog.Payload[eventlog.Rollout](*e); err == nil {
		c.revision = r.Revision
	}
	if before != nil {
		c.uid, c.applied = before.uid, before.applied
		f.forget(before)
	}
	f.changes[key] = c
	return c
}

// delete notes that the Deployment is deleted. What it holds is withdrawn from its devices, which has
// a trace of its own.
func (f *Fold) delete(key fleet.Key, before *change, e *eventlog.Event) {
	f.end(before, Superseded, string(e.Type), "", e)
	delete(f.runs, key)
	root, err := eventlog.ParseTraceContext(e.Traceparent)
	named := err == nil && root.Sampled() && (before == nil || root.TraceID != before.root.TraceID) // else an operator before this release wrote it
	switch {
	case named:
	case f.options.Untraced && before != nil:
		root = eventlog.TraceOfDelete(before.uid, before.applied)
	default:
		return
	}
	c := newChange(key, root, "delete", e.Actor, e)
	c.quiet, c.active, c.by = true, f.clock, e.Sequence
	if before != nil {
		c.uid, c.revision = before.uid, before.revision
		f.forget(before)
	}
	f.changes[key] = c
}
