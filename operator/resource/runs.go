package resource

import (
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
)

// Revisions are the revisions of a Deployment with their runs, the oldest first.
type Revisions struct {
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	Sequence  uint64     `json:"sequence"` // of the log, of which it is true
	Revisions []Revision `json:"revisions"`
}

// Revision is what a Deployment's spec said for a while.
type Revision struct {
	Revision uint64    `json:"revision"`
	Sequence uint64    `json:"sequence"` // of the event that applied it
	Time     time.Time `json:"time"`
	By       string    `json:"by,omitempty"`
	Cause    string    `json:"change_cause,omitempty"`
	Spec     bool      `json:"spec,omitempty"`    // it is what the spec says
	Out      bool      `json:"out,omitempty"`     // the newest run brings it to the devices
	Stable   bool      `json:"stable,omitempty"`  // a rollback goes there
	Refused  bool      `json:"refused,omitempty"` // it is not tried again
	Kept     bool      `json:"kept,omitempty"`    // undo --to-revision can go there
	Runs     []Run     `json:"runs"`
	// Score is what it says; only where one revision is asked for.
	Score json.RawMessage `json:"score,omitempty"`

	hash string
}

// Run is one attempt to bring a revision to the devices.
type Run struct {
	ID      uint64    `json:"id"`
	Kind    string    `json:"kind"`
	Time    time.Time `json:"time"`
	By      string    `json:"by,omitempty"` // the person who asked for it, where the spec did not
	From    uint64    `json:"from,omitempty"`
	Batches int       `json:"batches"`
	Devices int       `json:"devices"`
	// Result is the type of the event that ended it or holds it, without "rollout.";
	// "progressing" where none did, and "deleted" where the Deployment ended before it.
	Result string     `json:"result"`
	Reason string     `json:"reason,omitempty"`
	Batch  int        `json:"batch,omitempty"` // how far it got
	Ended  *time.Time `json:"ended,omitempty"`
}

// resultProgressing is the result of a run that goes on.
const resultProgressing = "progressing"

// RevisionsOf reads the revisions of a Deployment and their runs from the events on its
// subject. view is the fold at the same moment.
func RevisionsOf(view *fleet.View, key fleet.Key, events iter.Seq2[eventlog.Event, error]) (Revisions, error) {
	out, err := ReadRevisions(key, events)
	if err != nil {
		return out, err
	}
	out.Mark(view)
	return out, nil
}

// ReadRevisions is RevisionsOf without a view, which Mark is given: whoever shares one reads
// the events while others have it.
func ReadRevisions(key fleet.Key, events iter.Seq2[eventlog.Event, error]) (Revisions, error) {
	out := Revisions{Namespace: key.Namespace, Name: key.Name, Revisions: []Revision{}}
	for e, err := range events {
		if errors.Is(err, eventlog.ErrForeign) {
			continue
		}
		if err == nil {
			err = out.add(&e)
		}
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return out, err
		}
	}
	return out, nil
}

// Mark says of each revision what the fleet does with it.
func (rs *Revisions) Mark(view *fleet.View) {
	rs.Sequence = view.Sequence
	d := view.Deployments[fleet.Key{Namespace: rs.Namespace, Name: rs.Name}]
	if d == nil {
		return
	}
	for i := range rs.Revisions {
		r := &rs.Revisions[i]
		r.Spec = r.Revision == d.Spec.Revision && d.Lifecycle != fleet.Deleted
		r.Out = d.Run.ID > 0 && r.Revision == d.Run.Target.Revision && d.Run.Phase != fleet.PhaseAborted
		r.Stable = d.Stable.Content != "" && r.Revision == d.Stable.Revision
		r.Refused = d.Rejected != "" && r.hash == d.Rejected
		_, r.Kept = d.Content(r.Revision)
		r.Kept = r.Kept && d.Lifecycle != fleet.Deleted
	}
}

func (rs *Revisions) add(e *eventlog.Event) error {
	switch e.Type {
	case eventlog.DeploymentApplied:
		spec, err := eventlog.Payload[eventlog.Deployment](*e)
		if err != nil {
			return err
		}
		rs.applied(e, &spec)
	case eventlog.RolloutStarted:
		r, err := eventlog.Payload[eventlog.Rollout](*e)
		if err != nil {
			return err
		}
		if of := rs.find(r.Revision); of != nil {
			of.Runs = append(of.Runs, Run{
				ID: e.Sequence, Kind: r.Kind, Time: e.Time.UTC(), By: e.Actor, From: r.From, Batches: max(1, len(r.Batches)), Devices: r.Devices,
				Result: resultProgressing, Batch: 1, Reason: "",
			})
		}
	case eventlog.DeploymentDeleted:
		rs.ended(e.Time.UTC())
	default:
		if e.Address.Family == eventlog.FamilyDeployment && e.Type.Family() == eventlog.FamilyDeployment {
			return rs.went(e)
		}
	}
	return nil
}

// applied begins a revision, or tells more of it.
func (rs *Revisions) applied(e *eventlog.Event, spec *eventlog.Deployment) {
	r := rs.find(spec.Revision)
	if r == nil {
		rs.Revisions = append(rs.Revisions, Revision{Revision: spec.Revision, Sequence: e.Sequence, Time: e.Time.UTC(), Runs: []Run{}})
		r = &rs.Revisions[len(rs.Revisions)-1]
		if who := timeline.Requester(*spec); who.Name != "" {
			r.By = who.String()
		}
	}
	r.Cause, r.Score, r.hash = spec.ChangeCause, spec.Score, spec.ScoreHash
}

// went notes how far a run got.
func (rs *Revisions) went(e *eventlog.Event) error {
	switch e.Type {
	case eventlog.RolloutBatchStarted, eventlog.RolloutPaused, eventlog.RolloutResumed, eventlog.RolloutPromoted,
		eventlog.RolloutAborted, eventlog.RolloutRolledBack, eventlog.RolloutCompleted, eventlog.RolloutSuperseded:
	default:
		return nil
	}
	p, err := eventlog.Payload[eventlog.Rollout](*e)
	if err != nil {
		return err
	}
	run := rs.run(p)
	if run == nil {
		return nil
	}
	at := e.Time.UTC()
	switch e.Type {
	case eventlog.RolloutBatchStarted:
		run.Batch = p.Batch
	case eventlog.RolloutPaused:
		if p.Request == 0 { // a person's pause holds the Deployment, not the run
			run.Result, run.Reason = "paused", p.Reason
		}
	case eventlog.RolloutResumed, eventlog.RolloutPromoted:
		run.Result, run.Reason = resultProgressing, ""
	case eventlog.RolloutAborted:
		run.Result, run.Reason, run.Ended = "aborted", p.Message, &at
	case eventlog.RolloutRolledBack:
		run.Result, run.Reason, run.Ended = "rolled back", "", &at
	case eventlog.RolloutCompleted:
		run.Result, run.Reason, run.Ended = "completed", p.Reason, &at
	case eventlog.RolloutSuperseded:
		run.Result, run.Reason, run.Ended = "superseded", "", &at
	}
	return nil
}

// ended notes that a Deployment ended, and with it the runs that were on their way.
func (rs *Revisions) ended(at time.Time) {
	for i := range rs.Revisions {
		for j := range rs.Revisions[i].Runs {
			if run := &rs.Revisions[i].Runs[j]; run.Ended == nil {
				run.Result, run.Reason, run.Ended = "deleted", "", &at
			}
		}
	}
}

func (rs *Revisions) find(revision uint64) *Revision {
	if i := slices.IndexFunc(rs.Revisions, func(r Revision) bool { return r.Revision == revision }); i >= 0 {
		return &rs.Revisions[i]
	}
	return nil
}

// run gives the run that an event speaks of; before version 2 events did not say it.
func (rs *Revisions) run(p eventlog.Rollout) *Run {
	r := rs.find(p.Revision)
	if r == nil || len(r.Runs) == 0 {
		return nil
	}
	if i := slices.IndexFunc(r.Runs, func(run Run) bool { return run.ID == p.Run }); i >= 0 {
		return &r.Runs[i]
	}
	if p.Run > 0 {
		return nil
	}
	return &r.Runs[len(r.Runs)-1]
}

// Of leaves one revision; false where there is no such.
func (rs *Revisions) Of(revision uint64) bool {
	r := rs.find(revision)
	if r == nil {
		return false
	}
	rs.Revisions = []Revision{*r}
	return true
}
