package decide

import (
	"bytes"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// SetTracing says whether events are to carry the trace that they belong to. Without it
// no event has a header for that.
func (s *State) SetTracing(on bool) { s.tracing = on }

// traced notes in events to which trace they belong. The ids follow from what the log and
// the resource say, so that a replica which goes on after a crash comes to the same.
func (s *State) traced(due []eventlog.Draft) []eventlog.Draft {
	if !s.tracing {
		return due
	}
	t := tracer{State: s}
	for i := range due {
		due[i].Traceparent = t.traceparent(&due[i])
	}
	return due
}

// tracer gives the traces of the events of one decision. Most of them are of one
// Deployment, and give the same to each device.
type tracer struct {
	*State
	key    fleet.Key
	log    *fleet.Deployment // that of key
	root   eventlog.TraceContext
	traced bool // the Deployment's change is, or its deletion

	data []byte
	hash string // of data
}

// traceparent gives the context of an event; empty: it belongs to no change.
func (t *tracer) traceparent(d *eventlog.Draft) string {
	addr, err := eventlog.ParseSubject(d.Subject)
	if err != nil {
		return ""
	}
	switch addr.Family {
	case eventlog.FamilyDeployment:
		key := fleet.Key{Namespace: addr.Namespace, Name: addr.Name}
		log := t.view.Deployments[key]
		switch {
		case d.Type == eventlog.DeploymentApplied:
			return traceOfSpec(t.specs[key], log)
		case log == nil:
			return ""
		case d.Type == eventlog.DeploymentDeleted || log.Lifecycle == fleet.Deleted:
			return log.TraceOfDelete().String()
		case !log.Through():
			return log.Trace.Context
		case d.Type == eventlog.RolloutStarted:
			return eventlog.TraceOfRestart(log.Spec.UID, d.CausationID, log.Run.ID).String()
		}
	case eventlog.FamilyDesired:
		if key := (fleet.Key{Namespace: d.Namespace, Name: addr.Deployment}); t.key != key {
			t.look(key)
		}
		if t.traced && t.log.OfChange(t.view.Devices[addr.Device]) {
			return t.root.OfAssignment(d.Subject, d.Type, d.Revision, d.Batch, t.hashOf(d.Data)).String()
		}
	}
	return ""
}

func (t *tracer) look(key fleet.Key) {
	t.key, t.log, t.traced = key, t.view.Deployments[key], false
	if t.log != nil {
		t.root, t.traced = t.log.TraceRoot()
	}
}

func (t *tracer) hashOf(data []byte) string {
	if t.hash == "" || !bytes.Equal(t.data, data) {
		t.data, t.hash = data, eventlog.Hash(data)
	}
	return t.hash
}

// traceOfSpec gives the trace of a new spec: that which its author gave and has not used
// for a change before, else one of its own. What the log learns later of the same
// generation belongs to the same trace.
func traceOfSpec(spec Spec, log *fleet.Deployment) string {
	given := ""
	if log != nil {
		if log.Spec.UID == spec.UID && log.Spec.Generation == spec.Generation && log.Trace.Context != "" && (!log.Through() || log.Run.ID < log.Applied.Sequence) {
			return log.Trace.Context
		}
		given = log.Trace.Given
	}
	if spec.Traceparent != "" && spec.Traceparent != given {
		return spec.Traceparent
	}
	return eventlog.TraceOfChange(spec.UID, spec.Generation).String()
}

// givenTrace reads the context that a person wrote on a resource; empty: none, or none
// that is valid.
func givenTrace(annotations map[string]string) string {
	text := annotations[v1alpha1.AnnotationTraceparent]
	c, err := eventlog.ParseTraceContext(text)
	if err != nil {
		return ""
	}
	c.Flags &= eventlog.FlagSampled // the only one of the version that is written here (W3C Trace Context, section 3.2.2.5.2)
	return c.String()
}
