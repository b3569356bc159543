package resource

import (
	"cmp"
	"fmt"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/timeline"
)

// Progress is how a Deployment's rollout stands, or stood at a moment.
type Progress struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Sequence  uint64    `json:"sequence"` // of the log, of which all of it is true
	Time      time.Time `json:"time"`
	// State is the phase of the newest run; Held where a person or the spec holds it;
	// NotStarted where the operator has not begun what the spec says; Orphaned or
	// Deleted.
	State    string          `json:"state"`
	Revision uint64          `json:"revision"` // the spec's
	Cause    string          `json:"change_cause,omitempty"`
	Refused  bool            `json:"refused,omitempty"` // what the spec says is not tried again
	Stable   uint64          `json:"stable_revision,omitempty"`
	Run      *RunProgress    `json:"run,omitempty"`
	Hold     *HoldProgress   `json:"hold,omitempty"`
	Paused   bool            `json:"spec_paused,omitempty"`
	Batches  []BatchProgress `json:"batches"`

	Matched     int                `json:"matched"`
	Unavailable int                `json:"unavailable"`     // through the rollout
	Limit       int                `json:"max_unavailable"` // as a number of devices
	Standings   []StandingProgress `json:"standings"`       // their counts add up to matched
	Requests    []OpenRequest      `json:"requests,omitempty"`
	// Reason and Message are those of the Deployment's status.rollout: what it waits
	// for, or how it ended. Do is what a person can do.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	Do      string `json:"do,omitempty"`
}

// States of a Progress beside the phases of a run.
const (
	StateHeld       = "Held"
	StateNotStarted = "NotStarted"
	StateOrphaned   = "Orphaned"
	StateDeleted    = "Deleted"
)

// RunProgress is one attempt to bring a revision to the devices.
type RunProgress struct {
	ID       uint64    `json:"id"`
	Kind     string    `json:"kind"`
	Phase    string    `json:"phase"`
	Since    time.Time `json:"since"` // of the phase
	Started  time.Time `json:"started"`
	From     uint64    `json:"from,omitempty"` // the revision that was out before
	Revision uint64    `json:"revision"`       // that it brings out
	Restart  uint64    `json:"restart,omitempty"`
	By       string    `json:"by,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	Batch    int       `json:"batch"` // the open one, from 1
	Full     bool      `json:"full,omitempty"`
}

// HoldProgress is a person's pause.
type HoldProgress struct {
	By       string    `json:"by"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since"`
	Sequence uint64    `json:"sequence"`
}

// BatchProgress is one batch of a run.
type BatchProgress struct {
	Number  int    `json:"number"`
	State   string `json:"state"` // see the constants
	Size    string `json:"size"`  // as the spec says it: 10%, 5, rest, or a selector
	Pinned  bool   `json:"pinned,omitempty"`
	Planned int    `json:"planned"` // devices when the run started
	Devices int    `json:"devices"` // that match now
	Given   int    `json:"given"`
	Proven  int    `json:"proven"`
	Bad     int    `json:"bad"`
	Allowed int    `json:"allowed_bad"`
	Waiting int    `json:"waiting"`
	// SoakLeft is how long the devices that are healthy have still to be so, where no
	// other takes longer.
	Soak     eventlog.Duration `json:"soak"`
	SoakLeft eventlog.Duration `json:"soak_left"`
	Approval string            `json:"approval"` // Automatic, Manual or FourEyes
	Approved bool              `json:"approved,omitempty"`
}

// States of a batch.
const (
	BatchNext      = "next"
	BatchOpen      = "open"
	BatchSucceeded = "succeeded"
	BatchFailed    = "failed"
	BatchApproval  = "approval" // it succeeded, and a person lets the run go on
)

// approvalFourEyes is the approval of a batch that wants two persons.
const approvalFourEyes = "FourEyes"

// StandingProgress counts the devices of a standing, and names the first of them.
type StandingProgress struct {
	Standing string            `json:"standing"`
	Count    int               `json:"count"`
	Devices  []DeviceAndReason `json:"devices,omitempty"`
}

// DeviceAndReason is a device with the first thing that it waits for, or what is wrong.
type DeviceAndReason struct {
	Device string `json:"device"`
	Batch  int    `json:"batch,omitempty"`
	Why    string `json:"why,omitempty"`
}

// OpenRequest is a person's request that the operator has not answered.
type OpenRequest struct {
	Sequence uint64    `json:"sequence"`
	Verb     string    `json:"verb"`
	By       string    `json:"by"`
	Reason   string    `json:"reason,omitempty"`
	Time     time.Time `json:"time"`
}

// Progress gives how a Deployment's rollout stands, with at most so many devices of
// each standing by name; false where the log does not know the Deployment.
func (c *Catalog) Progress(key fleet.Key, most int) (Progress, bool) {
	d := c.View.Deployments[key]
	if d == nil || d.Lifecycle == "" {
		return Progress{}, false
	}
	c.tick()
	p := Progress{
		Namespace: key.Namespace, Name: key.Name, Sequence: c.View.Sequence, Time: c.Now.UTC(),
		Revision: d.Spec.Revision, Cause: d.Spec.ChangeCause, Stable: d.Stable.Revision, Batches: []BatchProgress{}, Standings: []StandingProgress{},
		Refused: d.Rejected != "" && d.Rejected == d.Spec.ScoreHash,
	}
	for _, q := range d.Requests {
		p.Requests = append(p.Requests, OpenRequest{q.Mark.Sequence, q.Verb, q.User, q.Reason, q.Mark.At})
	}
	if h := d.Hold; h != nil {
		p.Hold = &HoldProgress{By: h.By, Reason: h.Reason, Since: h.Mark.At, Sequence: h.Mark.Sequence}
	}
	p.Run = runProgress(d)
	shown, ok := c.state.Shown(key)
	if ok {
		p.Paused, p.Limit = shown.Settings.Paused, shown.Settings.MostUnavailable(shown.Matched)
		p.Matched, p.Unavailable = shown.Matched, shown.Disturbed
		p.Batches = batches(&d.Run, &shown)
		p.Standings = allStandings(d, &shown, most)
	}
	p.State = stateOf(d, p)
	if r := c.deploymentStatus(d).Rollout; r != nil {
		p.Reason, p.Message = r.Reason, r.Message
	}
	if p.Do = p.todo(&d.Run); p.State == StateNotStarted && d.Refused == nil && c.recorded(d).spec.Problem != nil {
		p.Do = fmt.Sprintf("correct the spec: kubectl edit fleetdep %s -n %s", key.Name, key.Namespace)
	}
	return p, true
}

// tick sets the clock of decisions to the catalog's moment.
func (c *Catalog) tick() {
	c.state.Tick(c.View.Clock)
	c.state.Tick(c.Now)
}

func runProgress(d *fleet.Deployment) *RunProgress {
	run := &d.Run
	if run.ID == 0 {
		return nil
	}
	r := &RunProgress{
		ID: run.ID, Kind: cmp.Or(run.Kind, eventlog.RunImmediate), Phase: string(run.Phase), Since: run.PhaseAt, Started: run.At, From: run.From,
		Revision: run.Target.Revision, Restart: run.Target.Restart, By: run.By, Reason: run.Reason, Message: run.Message, Batch: run.Batch, Full: run.Full,
	}
	if r.By == "" && run.Target.Revision == d.Spec.Revision {
		if who := timeline.Requester(d.Spec); who.Name != "" {
			r.By = who.String()
		}
	}
	for _, t := range []fleet.Target{d.Stable, d.Before} {
		if r.From == 0 && run.Kind != eventlog.RunRestart && t.Content != "" && t.Content != run.Target.Content {
			r.From = t.Revision
		}
	}
	return r
}

func stateOf(d *fleet.Deployment, p Progress) string {
	switch phase := d.Run.Phase; {
	case d.Lifecycle == fleet.Deleted:
		return StateDeleted
	case d.Lifecycle == fleet.Orphaned:
		return StateOrphaned
	case !p.Refused && (phase == fleet.PhaseNone || phase == fleet.PhaseSuperseded || d.Run.Target.Revision != d.Spec.Revision || d.Run.Kind == eventlog.RunRollback):
		return StateNotStarted
	case phase.Moving() && (p.Hold != nil || p.Paused):
		return StateHeld
	default:
		return string(phase)
	}
}

func batches(run *fleet.Run, shown *decide.Shown) []BatchProgress {
	out := make([]BatchProgress, len(run.Batches))
	for i, planned := range run.Batches {
		set := shown.Settings.Batch(run, i+1)
		out[i] = BatchProgress{
			Number: i + 1, State: batchState(run, i+1), Size: sizeText(set), Pinned: planned.Pinned, Planned: planned.Size,
			Soak: eventlog.Duration(set.Soak), Approval: approvalOf(set),
		}
		out[i].Approved = set.Manual && (i+1 < run.Batch || i+1 == run.Batch && run.Let)
		if out[i].State == BatchSucceeded && i+1 == run.Batch && i+1 < len(run.Batches) && set.Manual && !run.Let && !run.Full {
			out[i].State = BatchApproval
		}
	}
	for i := range shown.Devices {
		dev := &shown.Devices[i]
		if dev.Batch < 1 || dev.Batch > len(out) {
			continue
		}
		b := &out[dev.Batch-1]
		b.Devices++
		switch {
		case dev.Given:
			b.Given++
		case dev.Standing == rollout.StandsWaiting:
			b.Waiting++
		}
		switch {
		case dev.Class == rollout.Proven:
			b.Proven++
		case dev.Class.Bad():
			b.Bad++
		case !dev.Soaked.IsZero():
			b.SoakLeft = max(b.SoakLeft, eventlog.Duration(dev.Soaked.Sub(shown.Clock).Round(time.Second)))
		}
	}
	for i := range out {
		b := &out[i]
		b.Allowed = shown.Settings.Allowed(b.Given + b.Waiting)
		if b.Number == run.Batch && shown.Batch != nil { // as it will be judged
			b.Allowed = shown.Batch.Allowed
		}
	}
	return out
}

func batchState(run *fleet.Run, n int) string {
	through := run.Phase == fleet.PhaseCompleted || run.Phase == fleet.PhaseRolledBack
	switch {
	case through || n < run.Batch || n == run.Batch && run.Passed:
		return BatchSucceeded
	case n > run.Batch:
		return BatchNext
	case run.Failed || run.Phase == fleet.PhasePaused && (run.Reason == v1alpha1.ReasonBatchFailed || run.Reason == v1alpha1.ReasonNothingToRollBackTo):
		return BatchFailed
	}
	return BatchOpen
}

// sizeText is a batch's size as its author wrote it.
func sizeText(b rollout.Batch) string {
	switch {
	case b.Selector != nil:
		return selectors.SelectorText(*b.Selector)
	case b.Size != nil:
		return b.Size.String()
	}
	return "rest"
}

func approvalOf(b rollout.Batch) string {
	switch {
	case b.Manual && b.FourEyes:
		return approvalFourEyes
	case b.Manual:
		return eventlog.ApprovalManual
	}
	return eventlog.ApprovalAutomatic
}

// allStandings gives all six, so that their sum can be seen.
func allStandings(d *fleet.Deployment, shown *decide.Shown, most int) []StandingProgress {
	out := make([]StandingProgress, rollout.Standings)
	for st := range out {
		out[st] = StandingProgress{Standing: rollout.Standing(st).String(), Count: shown.Standings[st]}
	}
	for i := range shown.Devices {
		dev := &shown.Devices[i]
		s := &out[dev.Standing]
		if dev.Standing == rollout.Healthy && dev.Soaked.IsZero() || len(s.Devices) >= most {
			continue // nothing is to be said of it
		}
		s.Devices = append(s.Devices, DeviceAndReason{Device: dev.ID, Batch: dev.Batch, Why: whyDevice(d, dev, shown)})
	}
	return out
}
