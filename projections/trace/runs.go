package trace

import (
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// run is what is known of a Deployment's last run.
type run struct {
	kind     string
	revision uint64 // of its target
	over     bool
	rejected string // hash of content that is not tried again; empty: none
	spec     string // hash of the content that the Deployment's spec asks for
}

// Continue tells the fold, before its first event, how the runs of a fleet stood before
// the event at a sequence: from there on it is given events. Without it the fold does not
// know that a new spec begins no run.
func (f *Fold) Continue(v *fleet.View, from uint64) {
	for key, d := range v.Deployments {
		if r := &d.Run; r.ID > 0 && r.ID < from {
			over := r.Phase == fleet.PhaseCompleted && r.Reason != fleet.ReasonNoDeviceMatches || r.Phase == fleet.PhaseRolledBack || r.Phase == fleet.PhaseAborted
			f.runs[key] = run{kind: r.Kind, revision: r.Target.Revision, over: over && r.Sequence < from, rejected: d.Rejected, spec: d.Spec.ScoreHash}
		}
	}
}

// noteRun notes how the run of a Deployment stands after an event.
func (f *Fold) noteRun(key fleet.Key, e *eventlog.Event, r *eventlog.Rollout) {
	now := f.runs[key]
	switch e.Type {
	case eventlog.RolloutStarted:
		now.kind, now.revision, now.over = r.Kind, r.Revision, false
		switch r.Kind {
		case eventlog.RunRollback:
			now.rejected = now.spec
		case eventlog.RunRestart:
		default:
			now.rejected = ""
		}
	case eventlog.RolloutCompleted:
		now.over = r.Reason != fleet.ReasonNoDeviceMatches
	case eventlog.RolloutRolledBack:
		now.over = true
	case eventlog.RolloutAborted:
		now.over = true
		if now.kind != eventlog.RunRestart {
			now.rejected = now.spec
		}
	case eventlog.RolloutSuperseded:
		now.over = false
	default:
		return
	}
	f.runs[key] = now
}

// noteSpec notes what a new spec asks for, and says whether it begins no run. The rule is
// that of fleet.Deployment.Through.
func (f *Fold) noteSpec(key fleet.Key, d *eventlog.Deployment) (quiet bool) {
	now := f.runs[key]
	if now.spec = d.ScoreHash; now.rejected != now.spec {
		now.rejected = ""
	}
	f.runs[key] = now
	return now.over && now.revision > 0 && now.settles(d.Revision)
}

// settles says whether the end of the run is that of a change to a revision: the run brought
// it out, or what the spec asks for is not tried again. Of a run whose start is not known it
// is taken to be so.
func (r run) settles(revision uint64) bool {
	return r.revision == 0 || r.rejected != "" && r.rejected == r.spec || r.kind != eventlog.RunRollback && r.revision == revision
}
