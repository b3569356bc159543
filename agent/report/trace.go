package report

import (
	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
)

// traceOf gives the trace of the change that the device works on for a Deployment, where
// what the log last assigned is what is spoken of; empty: none, or it is through with it.
func (r *Reporter) traceOf(deployment string, spoken func(store.Desired) bool) string {
	d, ok := r.options.Assigned(deployment)
	if !ok || d.Traceparent == "" || !spoken(d) {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled[deployment] == d.Sequence {
		return ""
	}
	return d.Traceparent
}

// traceOfState gives the trace of a state, and notes when the device is through with the
// change.
func (r *Reporter) traceOfState(s eventlog.DeploymentState) string {
	traceparent := r.traceOf(s.Deployment, func(d store.Desired) bool { return d.Sequence == s.Assignment })
	if traceparent != "" && s.Phase == eventlog.PhaseRunning {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.settled[s.Deployment] = s.Assignment
	}
	return traceparent
}
