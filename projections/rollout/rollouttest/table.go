package rollouttest

import (
	"cmp"
	"slices"

	"fleet.nationtech.io/eventlog"
)

// Decide gives the events that are due at a moment; listening says since when this
// leader hears the devices. It is asked again once they are folded, until there are
// none. Release goes first, then one Deployment after the other.
func (s *State) Decide(now, listening int64) []Event {
	if due := s.Release(now); len(due) > 0 {
		return due
	}
	for _, d := range s.ByApplied() {
		if due := s.Turn(d.Key, now, listening); len(due) > 0 {
			return due
		}
	}
	return nil
}

// ByApplied puts the Deployment that was applied first in front: it gets a free name.
func (s *State) ByApplied() []*Deployment {
	var ds []*Deployment
	for _, d := range s.Deployments {
		ds = append(ds, d)
	}
	slices.SortFunc(ds, func(a, b *Deployment) int {
		return cmp.Or(cmp.Compare(a.Applied, b.Applied), cmp.Compare(a.Key, b.Key))
	})
	return ds
}

// turn is one Deployment before the table.
type turn struct {
	*State
	d              *Deployment
	now, listening int64
}

// Turn gives the event of the first row of the table that holds; where none does, the
// first assignments and the new numbers of what replaces nothing.
func (s *State) Turn(key string, now, listening int64) []Event {
	t := turn{s, s.Deployments[key], now, listening}
	if t.d == nil || t.d.Lifecycle == "" {
		return nil
	}
	if t.annotated() {
		return t.say("R3", eventlog.RolloutPromoted, Event{Reason: "Requested"})
	}
	if len(t.d.Requests) > 0 {
		return t.answer(t.d.Requests[0])
	}
	if t.d.Lifecycle == eventlog.DeploymentDeleted {
		return s.withdrawAll(t.d)
	}
	if t.d.Lifecycle != eventlog.DeploymentApplied {
		return nil // S1
	}
	for _, row := range []func() []Event{t.spec, t.judged, t.judge} {
		if due := row(); len(due) > 0 {
			return due
		}
	}
	return s.place(t.d)
}

func (t turn) say(row string, typ eventlog.Type, e Event) []Event {
	e.Row, e.Type, e.Deployment = row, typ, t.d.Key
	if e.Batch == 0 && typ != eventlog.RolloutStarted && typ != eventlog.RolloutRequestRefused {
		e.Batch = t.d.Run.Batch
	}
	return []Event{e}
}

func (t turn) pause(row, reason string) []Event {
	return t.say(row, eventlog.RolloutPaused, Event{Reason: reason})
}

func (t turn) start(row, kind string, target Target, e Event) []Event {
	e.Kind, e.Target, e.Plan, e.Shape = kind, target, t.plan(t.d, kind, target), t.d.Spec.shape()
	return t.say(row, eventlog.RolloutStarted, e)
}

// update starts a run of the spec's own content.
func (t turn) update(row string, e Event) []Event {
	kind := eventlog.RunUpdate
	if t.d.Spec.Strategy == eventlog.StrategyImmediate {
		kind = eventlog.RunImmediate
	}
	return t.start(row, kind, Target{Revision: t.d.Spec.Revision, Content: t.d.Spec.Content}, e)
}

// answer is the rows R1 to R8. A pause is bound to nothing, for a stop is never too
// late; what lets a run go on is bound to the batch that its author saw, and the rest
// to the run.
func (t turn) answer(q Request) []Event {
	d, r, e := t.d, &t.d.Run, Event{Answers: q.Sequence}
	run := q.Revision == d.Spec.Revision && q.Run == r.ID
	batch := run && q.Batch == r.Batch
	refuse := func(reason string) []Event {
		e.Reason = reason
		return t.say("R8", eventlog.RolloutRequestRefused, e)
	}
	if d.Lifecycle != eventlog.DeploymentApplied {
		return refuse("Gone")
	}
	switch q.Verb {
	case eventlog.RequestPause:
		run = true
	case eventlog.RequestResume, eventlog.RequestRetryFailed, eventlog.RequestPromote:
		run = batch
	}
	if !run {
		return refuse("Outdated")
	}
	open := r.Phase == Progressing || r.Phase == Paused
	e.Reason = "Requested"
	switch q.Verb {
	case eventlog.RequestPause:
		if !d.Hold {
			return t.say("R1", eventlog.RolloutPaused, e)
		}
	case eventlog.RequestResume, eventlog.RequestRetryFailed:
		if d.Hold || r.Phase == Paused {
			return t.say("R2", eventlog.RolloutResumed, e)
		}
	case eventlog.RequestPromote:
		if r.Kind == eventlog.RunRollback || !open {
			break
		}
		if d.batch().FourEyes || q.Full && d.fourEyes() {
			return refuse("FourEyes")
		}
		e.Full = q.Full
		return t.say("R3", eventlog.RolloutPromoted, e)
	case eventlog.RequestAbort:
		if open && r.Kind != eventlog.RunRollback {
			return t.say("R4", eventlog.RolloutAborted, e)
		}
	case eventlog.RequestUndo:
		if d.turned() && q.ToRevision == 0 {
			return t.update("R6", e)
		}
		if to := t.back(q); to.Content != "" && to.Content != d.Spec.Content {
			return t.start("R5", eventlog.RunRollback, to, e)
		}
	case eventlog.RequestRetry:
		if d.Refused == d.Spec.Content {
			return t.update("R6", e)
		}
	case eventlog.RequestRestart:
		if r.Phase == Completed || r.Phase == RolledBack || r.Phase == Aborted && r.Kind == eventlog.RunRestart {
			to := r.Target
			to.Restart++
			return t.start("R7", eventlog.RunRestart, to, e)
		}
	}
	return refuse("NotApplicable")
}

// annotated is R3 by the Deployment's annotation, the only way for a batch with four eyes.
func (t turn) annotated() bool {
	d, r, a := t.d, &t.d.Run, t.d.Annotated
	if d.Lifecycle != eventlog.DeploymentApplied || r.ID == 0 || r.Kind == eventlog.RunRollback || r.Phase != Progressing && r.Phase != Paused || r.Approved {
		return false
	}
	return a.Revision == d.Spec.Revision && a.Run == r.ID && a.Batch == r.Batch && (!d.batch().FourEyes || a.By != "" && a.Author != "" && a.By != a.Author)
}

// back is where an undo goes.
func (t turn) back(q Request) Target {
	switch {
	case q.ToRevision > 0:
		i := slices.IndexFunc(t.d.Contents, func(c Target) bool { return c.Revision == q.ToRevision })
		if i < 0 {
			return Target{}
		}
		return t.d.Contents[i]
	case t.d.Run.Phase == Completed:
		return t.d.Before
	}
	return t.d.Stable
}

// spec is the rows S2 to S4, and that of a pin which matches nothing.
func (t turn) spec() []Event {
	d, r := t.d, &t.d.Run
	open := r.Phase == Progressing || r.Phase == Paused
	another := r.ID == 0 || r.Target.Revision != d.Spec.Revision || r.Kind == eventlog.RunRollback || r.Phase == Superseded ||
		r.unproven() && t.matched(d) > 0
	switch {
	case d.Spec.Content != d.Refused && another && open:
		return t.say("S2", eventlog.RolloutSuperseded, Event{Reason: "Superseded"})
	case d.Spec.Content != d.Refused && another:
		return t.update("S2", Event{Reason: "Applied"})
	case r.Kind == eventlog.RunUpdate && open && d.Refused == "" && r.Shape != d.Spec.shape():
		return t.update("S3", Event{Reason: "PlanChanged"})
	case r.Phase == Progressing && r.Kind != eventlog.RunImmediate && d.Decided <= t.Restored:
		return t.pause("S4", "LogRestored")
	case r.Phase == Progressing && r.Kind != eventlog.RunRollback && r.Batch == 1 && !r.Passed && !r.Resumed && r.emptyPin():
		return t.pause("Pin", "PinMatchesNothing")
	}
	return nil
}

// judged is the rows B0 to B5: what follows without another look at the batch.
func (t turn) judged() []Event {
	d, r := t.d, &t.d.Run
	if d.still() || r.Phase != Progressing {
		return nil
	}
	last := r.Batch >= len(r.Plan)
	b := d.batch()
	switch {
	case r.Kind == eventlog.RunImmediate:
		if counts, n := t.Standings(d, t.now); n > 0 && counts[Healthy] == n {
			return t.say("B0a", eventlog.RolloutCompleted, Event{})
		}
	case r.Kind == eventlog.RunRollback:
		v := t.rollback(d, t.now)
		idle := t.now-max(r.BatchAt, v.Newest) >= d.Spec.Deadline
		switch {
		case v.Waiting+v.Open == 0:
			return t.say("B1", eventlog.RolloutRolledBack, Event{})
		case v.Open == 0 && idle && !t.canGrant(d, t.now):
			return t.pause("B2", "RollbackFailed")
		}
	case d.failed() && t.canRollBack(d):
		return t.start("B7", eventlog.RunRollback, d.Stable, Event{Reason: "BatchFailed"})
	case d.failed() && d.Spec.OnFailure == eventlog.OnFailureRollback:
		return t.pause("B9", "NothingToRollBackTo")
	case d.failed():
		return t.pause("B9", "BatchFailed")
	case d.passed() && last:
		return t.say("B3", eventlog.RolloutCompleted, Event{})
	case d.passed() && (!b.Manual || r.Approved || r.Free) && !d.shut(t.now):
		return t.say("B4", eventlog.RolloutBatchStarted, Event{Batch: r.Batch + 1})
	case d.passed(): // it waits for a person, or for a window
	case t.matched(d) == 0:
		return t.say("B5", eventlog.RolloutCompleted, Event{Reason: NoDeviceMatches})
	}
	return nil
}

func (t turn) canRollBack(d *Deployment) bool {
	to := d.Stable.Content
	return d.Spec.OnFailure == eventlog.OnFailureRollback && to != "" && to != d.Run.Target.Content && to != d.Spec.Content
}

// judge is the rows B6 to B13.
func (t turn) judge() []Event {
	d, r := t.d, &t.d.Run
	if d.still() || r.Phase != Progressing || r.Kind == eventlog.RunImmediate || r.Kind == eventlog.RunRollback || d.passed() ||
		t.now-t.listening < OfflineTimeout { // B6
		return nil
	}
	v := t.Judge(d, t.now)
	settled := v.Open+v.Waiting == 0
	over := func(since int64) bool { return t.now-since >= d.Spec.Deadline }
	failed := v.Bad > (v.Given+v.Waiting)*(100-d.Spec.Threshold)/100
	goOn := d.Spec.OnFailure == eventlog.OnFailureContinue
	switch {
	case r.Free && v.Waiting == 0:
		return t.say("B10", eventlog.RolloutBatchSucceeded, Event{})
	case r.Free:
	case failed && !goOn:
		return t.say("B7", eventlog.RolloutBatchFailed, Event{Reason: d.Spec.OnFailure})
	case failed && settled:
		return t.say("B8", eventlog.RolloutBatchFailed, Event{Reason: d.Spec.OnFailure})
	case v.Offline > 0 && d.Spec.OfflineDevices == eventlog.OfflineWait && over(r.BatchAt):
		return t.pause("Wait", "OfflineDevices")
	case v.Offline > 0 && d.Spec.OfflineDevices == eventlog.OfflineWait:
		return nil
	case settled && nowhere(r, v) && (r.Stalled || d.shut(t.now) || d.pace(t.now) == 0 || !over(d.idle(v, t.now))):
		return nil
	case settled && nowhere(r, v) && v.Missing == 0:
		return t.say("Stall", eventlog.RolloutStalled, Event{Reason: "TemplateValueMissing"})
	case settled && nowhere(r, v):
		return t.stall()
	case t.through(v) && d.holding(t.now):
		return t.say("B10", eventlog.RolloutBatchSucceeded, Event{})
	case t.through(v):
		switch a := d.overdue(); {
		case a == nil:
			return nil
		case a.Verdict == eventlog.GateNone:
			return t.pause("B12", "GateUnanswered")
		default:
			return t.pause("B12", "GateFailed")
		}
	case settled && !d.shut(t.now) && over(max(r.BatchAt, d.opened(t.now))):
		return t.pause("B11", "NothingProven")
	}
	stuck := v.Waiting > 0 && v.Open == 0 && !d.shut(t.now) && d.pace(t.now) > 0 && over(d.idle(v, t.now)) && !t.canGrant(d, t.now)
	switch {
	case stuck && v.Ready > 0:
		return t.pause("B13", "BudgetExhausted")
	case stuck && !r.Stalled:
		return t.stall()
	}
	return nil
}

// through says whether all of the batch are judged, so that its gates decide.
func (t turn) through(v Verdict) bool {
	r := &t.d.Run
	return v.Open+v.Waiting == 0 && (v.Proven > 0 || r.Batch >= len(r.Plan) || r.Plan[r.Batch-1].Size == 0)
}

// Asks gives the gates that are to be asked: those of a batch that waits for nothing else.
func (s *State) Asks(key string, now, listening int64) []Gate {
	d := s.Deployments[key]
	if d == nil || d.Lifecycle != eventlog.DeploymentApplied {
		return nil
	}
	t, r := turn{s, d, now, listening}, &d.Run
	if r.ID == 0 || d.still() || r.Phase != Progressing || !r.paced() || d.passed() || d.failed() || r.Free || s.matched(d) == 0 || now-listening < OfflineTimeout {
		return nil
	}
	v := s.Judge(d, now)
	waitsFor := v.Offline > 0 && d.Spec.OfflineDevices == eventlog.OfflineWait || nowhere(r, v)
	if v.Bad > (v.Given+v.Waiting)*(100-d.Spec.Threshold)/100 || waitsFor || !t.through(v) || d.holding(now) {
		return nil
	}
	return d.batch().Gates
}

// stall: what a device could be given waits for another Deployment.
func (t turn) stall() []Event {
	reason := "AwaitingDependencies"
	if t.cyclic(t.d) {
		reason = "DependencyCycle"
	}
	return t.say("Stall", eventlog.RolloutStalled, Event{Reason: reason})
}

// nowhere: the only batch was given to nobody, and some wait until a Deployment that they
// depend on comes or is healthy, or until they have the label that is filled in.
func nowhere(r *Run, v Verdict) bool {
	return len(r.Plan) == 1 && v.Given == 0 && v.Missing+v.Unfilled > 0
}
