package fleet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
)

// Phase is how far a run has got.
type Phase string

// The phases of a run. Superseded is how a run ends between two events; the next run
// takes its place.
const (
	PhaseNone        Phase = ""
	PhaseProgressing Phase = "Progressing"
	PhaseRollingBack Phase = "RollingBack"
	PhasePaused      Phase = "Paused"
	PhaseCompleted   Phase = "Completed"
	PhaseRolledBack  Phase = "RolledBack"
	PhaseAborted     Phase = "Aborted"
	PhaseSuperseded  Phase = "Superseded"
)

// Moving says whether a run in this phase gives its target to devices and is judged.
func (p Phase) Moving() bool { return p == PhaseProgressing || p == PhaseRollingBack }

// Target is what a run gives to devices.
type Target struct {
	Revision uint64
	Content  string // the hash of the score as its author wrote it
	Hash     string // of Score, which is what devices get
	Score    json.RawMessage
	Restart  uint64 // how often it was restarted
}

// Run is one attempt to bring a target to the devices.
type Run struct {
	ID       uint64 // sequence of its rollout.started; 0: there was none yet
	Sequence uint64 // of the last event about it
	Kind     string // eventlog.RunUpdate and so on
	Strategy string
	Target   Target
	From     uint64 // of a rollback: the revision that it goes away from
	Batches  []eventlog.PlannedBatch
	Shape    string // the sizes and pins that were planned
	Matched  int    // devices when it started
	Online   int    // of them
	By       string // the actor who asked for it, empty where the spec did
	At       time.Time

	Batch   int       // the open one, from 1
	BatchAt time.Time // when it was opened, or the run resumed
	Passed  bool      // it succeeded, or a person let the run go on
	Let     bool      // a person let the run go on after it
	Failed  bool      // it was judged as failed, and what follows is due
	Full    bool      // a person let the run go on to its end without a judgement
	Resumed bool      // a person let the run go on after a pause

	Phase   Phase
	PhaseAt time.Time
	Reason  string
	Message string
	// Next is when the rate of spec.rollout lets the run give something to a device again:
	// the theoretical arrival time of a generic cell rate algorithm (ITU-T I.371). Zero: at
	// once.
	Next time.Time
	// Succeeded counts the assignments of the run that were reported to run.
	Succeeded int

	// Gates are the last answers of the open batch's gates, in the order of their first.
	Gates []GateState `json:",omitempty"`

	StalledAt time.Time // when rollout.stalled said that the open batch does not get on; zero: it did not
}

// Paced says whether a run keeps to the windows and the rate of its Deployment. A rollback
// mends what is broken, and an Immediate one waits for nothing.
func (r *Run) Paced() bool { return r.Kind == eventlog.RunUpdate || r.Kind == eventlog.RunRestart }

// pace notes that the run gave something to a device.
func (v *View) pace(d *Deployment) {
	rate, run := d.Settings.Rate, &d.Run
	if rate == nil || !run.Paced() {
		return
	}
	if v.Clock.After(run.Next) {
		run.Next = v.Clock
	}
	run.Next = run.Next.Add(rate.Interval(run.Succeeded))
}

// Hold is a person's pause. It belongs to the Deployment and survives a new spec.
type Hold struct {
	By     string
	Reason string
	Mark   Mark
}

// Content is what one revision of a Deployment says.
type Content struct {
	Revision uint64
	Hash     string
	Score    json.RawMessage
}

const (
	// MaxRequests is how many requests about a Deployment may be open; what is asked
	// beyond that is not kept.
	MaxRequests = 8
	// MaxContents is how many of its last revisions' contents are kept for undo.
	MaxContents = 10
)

// Order is a device's place in a Deployment: the same for every revision, whatever
// other devices there are. It is the first 8 bytes of SHA-256(namespace/name NUL
// device).
func Order(k Key, device string) uint64 {
	b := make([]byte, 0, 128)
	b = append(append(append(append(append(b, k.Namespace...), '/'), k.Name...), 0), device...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:8])
}

// Content gives what a revision said, where it is still kept.
func (d *Deployment) Content(revision uint64) (Content, bool) {
	for _, c := range d.Contents {
		if c.Revision == revision {
			return c, true
		}
	}
	return Content{}, false
}

// learnContent remembers the content of a new spec, and forgets the oldest.
func (d *Deployment) learnContent() {
	s := &d.Spec
	if d.Rejected != s.ScoreHash {
		d.Rejected = ""
	}
	for i, c := range d.Contents {
		if c.Revision == s.Revision {
			d.Contents[i] = Content{Revision: s.Revision, Hash: s.ScoreHash, Score: s.Score}
			return
		}
	}
	d.Contents = append(d.Contents, Content{Revision: s.Revision, Hash: s.ScoreHash, Score: s.Score})
	if n := len(d.Contents) - MaxContents; n > 0 {
		d.Contents = append(d.Contents[:0:0], d.Contents[n:]...)
	}
}

// SpecTarget is the target that the spec asks for.
func (d *Deployment) SpecTarget() Target {
	return Target{Revision: d.Spec.Revision, Content: d.Spec.ScoreHash, Hash: d.Spec.ScoreHash, Score: d.Spec.Score}
}

// forgetRuns: what was deleted begins as a first revision.
func (d *Deployment) forgetRuns() {
	d.Run, d.Stable, d.Before, d.Rejected, d.Hold, d.Requests = Run{}, Target{}, Target{}, "", nil, nil
}

// applyRollout folds an event of a rollout. r is its payload.
func (v *View) applyRollout(d *Deployment, e *eventlog.Event, r *eventlog.Rollout) {
	run, now := &d.Run, v.Clock
	to := func(p Phase) { run.Phase, run.PhaseAt, run.Reason, run.Message = p, now, r.Reason, r.Message }
	switch e.Type {
	case eventlog.RolloutStarted:
		if d.Through() { // the run has a trace of its own, or none
			d.Trace.take(e)
		}
		v.startRun(d, e, r)
	case eventlog.RolloutBatchStarted:
		run.Batch, run.BatchAt, run.Passed, run.Let, run.Failed, run.StalledAt, run.Gates = r.Batch, now, false, false, false, time.Time{}, nil
	case eventlog.RolloutBatchSucceeded:
		run.Passed = true
		v.writeOff(d)
	case eventlog.RolloutBatchFailed:
		run.Failed = true
		v.writeOff(d)
	case eventlog.RolloutPromoted:
		to(PhaseProgressing)
		run.Passed, run.Let, run.Failed, run.Resumed, run.Full = true, true, false, true, run.Full || r.Full
	case eventlog.RolloutPaused:
		if r.Request > 0 {
			d.Hold = &Hold{By: strings.Clone(e.Actor), Reason: r.Message, Mark: markOf(e)}
			break
		}
		to(PhasePaused)
		run.Failed = false
	case eventlog.RolloutResumed:
		d.Hold = nil
		if run.Phase == PhasePaused {
			v.resumeRun(d, to)
		} else if run.Phase.Moving() {
			v.renewRun(d)
		}
	case eventlog.RolloutAborted:
		to(PhaseAborted)
		if run.Kind != eventlog.RunRestart { // its content is the one that is out
			d.Rejected = d.Spec.ScoreHash
		}
	case eventlog.RolloutSuperseded:
		to(PhaseSuperseded)
	case eventlog.RolloutRolledBack:
		to(PhaseRolledBack)
	case eventlog.RolloutCompleted:
		to(PhaseCompleted)
		if run.ID == 0 { // the rollout of a revision from before the log knew runs
			run.Target = d.SpecTarget()
		}
		if r.Reason != ReasonNoDeviceMatches { // that it does no harm was shown nowhere
			d.settle()
		}
	case eventlog.RolloutStalled:
		run.StalledAt = now
	case eventlog.RolloutGateMeasured:
		if r.Gate != nil && r.Run == run.ID && r.Batch == run.Batch {
			run.measure(*r.Gate, now)
		}
		return // it decides nothing
	}
	if r.Request > 0 {
		d.answer(r.Request)
	}
	if e.Type != eventlog.RolloutRequestRefused {
		run.Sequence = e.Sequence
	}
}

// ReasonNoDeviceMatches is the reason of a rollout.completed of a run that no device
// matched. What it brought out is not stable by that.
const ReasonNoDeviceMatches = "NoDeviceMatches"

// answer forgets the requests up to one: they are answered in their order.
func (d *Deployment) answer(sequence uint64) {
	kept := d.Requests[:0]
	for _, q := range d.Requests {
		if q.Mark.Sequence > sequence {
			kept = append(kept, q)
		}
	}
	clear(d.Requests[len(kept):])
	d.Requests = kept
}

// settle makes what a run brought out the stable target.
func (d *Deployment) settle() {
	if d.Stable.Content != "" && d.Stable.Content != d.Run.Target.Content {
		d.Before = d.Stable
	}
	d.Stable = d.Run.Target
}

func (v *View) startRun(d *Deployment, e *eventlog.Event, r *eventlog.Rollout) {
	if old := &d.Run; old.Kind == eventlog.RunImmediate && old.Phase != PhaseCompleted && d.holdAll(&old.Target) {
		d.settle()
	}
	t := d.SpecTarget()
	t.Restart = r.Restart
	if r.ScoreHash != "" {
		t.Revision, t.Content, t.Hash = r.Revision, r.ScoreHash, r.ScoreHash
	}
	if len(r.Score) > 0 {
		t.Score = append(json.RawMessage(nil), r.Score...)
		t.Hash = eventlog.Hash(t.Score)
	}
	phase := PhaseProgressing
	switch r.Kind {
	case eventlog.RunRollback:
		phase, d.Rejected = PhaseRollingBack, d.Spec.ScoreHash
		d.Stable = t // what it goes away from is given to nobody any more
	case eventlog.RunRestart:
	default:
		d.Rejected = ""
	}
	d.Run = Run{
		ID: e.Sequence, Kind: r.Kind, Strategy: r.Strategy, Target: t, From: r.From, Batches: r.Batches, Shape: r.Shape,
		Matched: r.Devices, Online: r.Online, By: strings.Clone(e.Actor), At: v.Clock,
		Batch: 1, BatchAt: v.Clock, Phase: phase, PhaseAt: v.Clock, Reason: r.Reason, Message: r.Message,
	}
	if len(d.Run.Batches) == 0 {
		d.Run.Batches = []eventlog.PlannedBatch{{Cut: LastCut, Size: r.Devices}}
	}
	for _, p := range d.pairs {
		if p.Has(&t) { // it has the target already: a member at once
			p.Begun = MomentOf(v.Clock)
			v.touchDevice(p.Device)
		}
	}
}

// LastCut is the cut of a run's last batch: no order is above it.
const LastCut = ^uint64(0)

// holdAll says whether the Deployment has devices, and all of them were given a target.
func (d *Deployment) holdAll(t *Target) bool {
	for _, p := range d.pairs {
		if !p.Has(t) {
			return false
		}
	}
	return len(d.pairs) > 0
}

// resumeRun lets a paused run go on. Its failures get another deadline.
func (v *View) resumeRun(d *Deployment, to func(Phase)) {
	run := &d.Run
	phase := PhaseProgressing
	if run.Kind == eventlog.RunRollback {
		phase = PhaseRollingBack
	}
	to(phase)
	run.Failed, run.Resumed = false, true
	v.renewRun(d)
}

// renewRun gives the devices of a run another deadline: while it was held they waited for
// a person.
func (v *View) renewRun(d *Deployment) {
	run := &d.Run
	run.BatchAt, run.StalledAt, run.Gates = v.Clock, time.Time{}, nil
	for _, p := range d.pairs {
		if p.Has(&run.Target) {
			if p.Begun = MomentOf(v.Clock); !p.Succeeded() {
				p.Since = p.Begun
			}
			v.touchDevice(p.Device)
		}
	}
}

// writeOff: devices that were lost when their batch was judged are no longer counted
// as unavailable through the rollout, until they are back.
func (v *View) writeOff(d *Deployment) {
	for _, p := range d.pairs {
		if p.Lost && p.Has(&d.Run.Target) {
			p.WrittenOff = true
			v.touchDevice(p.Device)
		}
	}
}

// applyRolloutRequest keeps a person's request until the operator answers it.
func (v *View) applyRolloutRequest(d *Deployment, e *eventlog.Event, r eventlog.Request) {
	if d.Lifecycle == "" || d.Lifecycle == Deleted || len(d.Requests) >= MaxRequests {
		return
	}
	d.Requests = append(d.Requests, Request{Request: r, User: v.intern(e.Address.User), Mark: markOf(e)})
	v.touchDeployment(d)
}
