package decide

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/template"
)

// Reasons of the events of a rollout that no status has.
const (
	ReasonApplied    = "Applied"
	ReasonSuperseded = "Superseded"
)

// rolloutRules are the state machine of a Deployment's rollout: the first row that
// holds gives its event, and the table is asked again once that is folded. The rows of
// requests go before these, see answerRequest.
var rolloutRules = []rule[deploymentCase]{
	standStill,
	supersede,
	replan,
	pauseRestored,
	pauseUnmatchedPin,
	restOfTable,
}

// standStill: what is not decided about goes no further, and neither does a rollout of
// a spec that the log does not have.
func standStill(c deploymentCase) ([]eventlog.Draft, bool, error) {
	return nil, c.place == nil || !c.current(c.spec), nil
}

// supersede (S2): another content is asked for than the run brings out.
func supersede(c deploymentCase) ([]eventlog.Draft, bool, error) {
	want, run := c.log.SpecTarget(), &c.log.Run
	if c.log.Rejected == want.Content || run.Target.Revision == want.Revision && run.Kind != eventlog.RunRollback &&
		run.Phase != fleet.PhaseNone && run.Phase != fleet.PhaseSuperseded && (!rollout.Unmatched(run) || c.place.matched == 0) {
		return nil, false, nil
	}
	if run.Phase.Moving() || run.Phase == fleet.PhasePaused {
		return c.event(eventlog.RolloutSuperseded, eventlog.Rollout{
			Reason: ReasonSuperseded, Message: fmt.Sprintf("revision %d takes the place of revision %d", want.Revision, run.Target.Revision),
		})
	}
	return c.start(startOf{target: want, reason: ReasonApplied})
}

// replan (S3): the sizes or selectors of the batches differ from those that were
// planned.
func replan(c deploymentCase) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if run.Kind != eventlog.RunUpdate || run.Phase == fleet.PhaseCompleted || c.log.Rejected != "" || c.place.set.Shape == run.Shape {
		return nil, false, nil
	}
	return c.start(startOf{target: c.log.SpecTarget(), reason: v1alpha1.ReasonPlanChanged})
}

// pauseRestored (S4): the log was restored from an archive, which may be older than
// what devices run. A person looks before a run goes on.
func pauseRestored(c deploymentCase) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if run.Sequence > c.restored || rollout.Immediate(run) || !run.Phase.Moving() {
		return nil, false, nil
	}
	return c.event(eventlog.RolloutPaused, eventlog.Rollout{
		Reason: v1alpha1.ReasonLogRestored, Message: "the event log was restored from an archive while this rollout was on its way; look at the devices, then resume or undo",
	})
}

// pauseUnmatchedPin: the selector of a batch selects no device. A slip of the pen must
// not pass for a canary that succeeded.
func pauseUnmatchedPin(c deploymentCase) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if run.Phase != fleet.PhaseProgressing || run.Resumed || run.Batch != 1 || run.Passed {
		return nil, false, nil
	}
	for i, b := range run.Batches {
		if b.Pinned && b.Size == 0 {
			return c.event(eventlog.RolloutPaused, eventlog.Rollout{
				Reason: v1alpha1.ReasonPinMatchesNothing, Message: fmt.Sprintf(
					"the selector of batch %d selects no device that matches; correct spec.rollout.batches[%d].selector, or resume to go on without such devices", i+1, i),
			})
		}
	}
	return nil, false, nil
}

// restOfTable are the rows B0 to B13.
func restOfTable(c deploymentCase) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	switch {
	case !run.Phase.Moving() || c.place.set.Held(c.log):
		return nil, false, nil
	case rollout.Immediate(run):
		return c.completeImmediate()
	case run.Phase == fleet.PhaseRollingBack:
		return c.rollBack()
	case run.Passed, run.Failed && c.place.set.OnFailure == eventlog.OnFailureContinue:
		return c.goOn()
	case run.Failed:
		return c.afterFailure(c.counts())
	case c.place.matched == 0:
		return c.event(eventlog.RolloutCompleted, eventlog.Rollout{Reason: fleet.ReasonNoDeviceMatches})
	case !c.heard():
		return nil, false, nil
	case run.Full:
		if c.place.classes[rollout.Waiting] == 0 {
			return c.event(eventlog.RolloutBatchSucceeded, eventlog.Rollout{Batch: run.Batch, Counts: c.counts()})
		}
		return c.pauseExhausted()
	}
	return c.judge()
}

func (c deploymentCase) completeImmediate() ([]eventlog.Draft, bool, error) {
	if c.place.matched == 0 || c.place.standings[rollout.Healthy] != c.place.matched {
		return nil, false, nil
	}
	return c.event(eventlog.RolloutCompleted, eventlog.Rollout{})
}

// rollBack (B1, B2): a rollback is through when no online device holds anything else
// and none is at work.
func (c deploymentCase) rollBack() ([]eventlog.Draft, bool, error) {
	left, open := c.place.classes[rollout.Waiting], c.place.classes[rollout.Open]
	switch {
	case left+open == 0:
		return c.event(eventlog.RolloutRolledBack, eventlog.Rollout{})
	case open == 0 && !c.place.grantable() && !c.Clock().Before(c.place.stuckAt()):
		return c.event(eventlog.RolloutPaused, eventlog.Rollout{
			Reason: v1alpha1.ReasonRollbackFailed, Counts: c.counts(), Examples: c.examples(), Message: fmt.Sprintf(
				"%s still %s what is rolled back, and no more may be unavailable; mend the devices that fail, then resume", rollout.DevicesText(left), rollout.Verb(left, "runs", "run")),
		})
	}
	return nil, false, nil
}

// goOn (B3, B4): the open batch is through.
func (c deploymentCase) goOn() ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if run.Batch >= len(run.Batches) {
		return c.event(eventlog.RolloutCompleted, eventlog.Rollout{})
	}
	if b := c.place.set.Batch(run, run.Batch); b.Manual && !run.Let && !run.Full {
		return nil, false, nil // until a person promotes it
	}
	if !c.place.hours.Open {
		return nil, false, nil
	}
	return c.event(eventlog.RolloutBatchStarted, eventlog.Rollout{Batch: run.Batch + 1})
}

// judgement is how an open batch fares: the first that holds.
type judgement int8

const (
	batchWaits         judgement = iota // devices wait or are at work
	batchFails                          // B7 to B9: more are bad than may be
	batchAwaitsOffline                  // a member is offline, and may still come back
	batchLacksOffline                   // it did not
	batchNowhere                        // nobody is given anything before a Deployment comes, or before a device has the labels that are filled in
	batchThrough                        // B10, B12: all are judged, so its gates decide
	batchUnproven                       // B11: all are judged, and none has proven it
)

// judgement tells how the open batch fares.
func (c deploymentCase) judgement(counts *eventlog.RolloutCounts) judgement {
	pl, run := c.place, &c.log.Run
	n := &pl.classes
	settled := n[rollout.Waiting]+n[rollout.Open] == 0
	last := run.Batch >= len(run.Batches)
	overdue := !c.Clock().Before(run.BatchAt.Add(pl.set.Deadline))
	empty := run.Batch <= len(run.Batches) && run.Batches[run.Batch-1].Size == 0 // a small fleet has no device for it
	switch {
	case counts.Bad > counts.Allowed && (pl.set.OnFailure != eventlog.OnFailureContinue || settled):
		return batchFails
	case pl.set.WaitOffline && pl.awaited > 0 && !overdue:
		return batchAwaitsOffline
	case pl.set.WaitOffline && pl.awaited > 0:
		return batchLacksOffline
	case pl.nowhere():
		return batchNowhere
	case settled && (n[rollout.Proven] > 0 || last || empty):
		return batchThrough
	case settled && pl.hours.Open && !c.Clock().Before(pl.unprovenAt()):
		return batchUnproven
	}
	return batchWaits
}

// judge (B7 to B13).
func (c deploymentCase) judge() ([]eventlog.Draft, bool, error) {
	pl, run, counts := c.place, &c.log.Run, c.counts()
	pause := func(reason, message string) ([]eventlog.Draft, bool, error) {
		return c.event(eventlog.RolloutPaused, eventlog.Rollout{Batch: run.Batch, Reason: reason, Message: message, Counts: counts, Examples: c.examples()})
	}
	switch c.judgement(counts) {
	case batchFails:
		return c.fail(counts)
	case batchAwaitsOffline:
		return nil, false, nil
	case batchLacksOffline:
		return pause(v1alpha1.ReasonOfflineDevices, fmt.Sprintf("%s of batch %d %s offline; bring %s back and resume, or promote to go on without", rollout.DevicesText(pl.awaited), run.Batch, rollout.Verb(pl.awaited, "is", "are"), rollout.Verb(pl.awaited, "it", "them")))
	case batchNowhere:
		if pl.missing == 0 {
			return c.stallUnfilled()
		}
		return c.stall(pl.missing)
	case batchThrough:
		if pl.set.NotHolding(run, c.Clock()) != nil {
			return c.pauseGated(pause)
		}
		return c.event(eventlog.RolloutBatchSucceeded, eventlog.Rollout{Batch: run.Batch, Counts: counts})
	case batchUnproven:
		return pause(v1alpha1.ReasonNothingProven, fmt.Sprintf("no device of batch %d ran the new revision for its soak; promote to go on without a proof, or undo", run.Batch))
	}
	return c.pauseExhausted()
}

// pauseExhausted (B13): for a whole deadline no budget let a device be given anything.
func (c deploymentCase) pauseExhausted() ([]eventlog.Draft, bool, error) {
	pl, run := c.place, &c.log.Run
	waiting := pl.classes[rollout.Waiting]
	switch {
	case !pl.hours.Open || waiting == 0 || pl.classes[rollout.Open] > 0 || pl.grantable() || c.Clock().Before(pl.stuckAt()):
		return nil, false, nil
	case waiting == pl.blocked:
		return c.stall(waiting)
	}
	return c.event(eventlog.RolloutPaused, eventlog.Rollout{
		Batch: run.Batch, Reason: v1alpha1.ReasonBudgetExhausted, Counts: c.counts(), Examples: c.examples(), Message: fmt.Sprintf(
			"%s of batch %d %s, and no more may be unavailable; mend what is down, or raise the budget, then resume", rollout.DevicesText(waiting), run.Batch, rollout.Verb(waiting, "waits", "wait")),
	})
}

// stall: for a whole deadline each device that the batch still has to give something to
// waited for another Deployment. That is said once a batch, and the run goes on as soon
// as that Deployment does. A batch that waits for a person, or for its soak, is not
// stalled.
func (c deploymentCase) stall(devices int) ([]eventlog.Draft, bool, error) {
	pl, run := c.place, &c.log.Run
	if !c.stalls() {
		return nil, false, nil
	}
	reason, on := v1alpha1.ReasonAwaitingDependencies, "until what it depends on is healthy there"
	if pl.cyclic(c.State) {
		reason, on = v1alpha1.ReasonDependencyCycle, "for ever: this Deployment depends on itself by way of spec.rollout.dependsOn"
	}
	examples := c.examplesOf(func(v *placeValues) bool { return v.class == rollout.Waiting || v.missing }, func(e *eventlog.DeviceExample, p *place) {
		e.Reason = reason
		if p.values.blocked != reason {
			e.Error = "waits for " + c.key.Namespace + "/" + p.values.blocked
		}
		if p.values.skipped != "" {
			e.Reason, on = p.values.skipped, "until what it depends on is assigned there, and healthy"
			e.Error += ", which is not assigned there"
		}
	})
	return c.event(eventlog.RolloutStalled, eventlog.Rollout{
		Batch: run.Batch, Reason: reason, Counts: c.counts(), Examples: examples, Message: fmt.Sprintf(
			"%s of batch %d %s %s; nothing got on for %s", rollout.DevicesText(devices), run.Batch, rollout.Verb(devices, "waits", "wait"), on, pl.set.Deadline),
	})
}

// stalls says whether the open batch has not got on for a whole deadline, and the log does
// not say so yet.
func (c deploymentCase) stalls() bool {
	return c.place.hours.Open && c.log.Run.StalledAt.IsZero() && !c.Clock().Before(c.place.stuckAt())
}

// stallUnfilled: for a whole deadline there was no device that has the labels which are
// filled in. That is said once a batch, and the run goes on as soon as there is one.
func (c deploymentCase) stallUnfilled() ([]eventlog.Draft, bool, error) {
	pl, run := c.place, &c.log.Run
	if !c.stalls() {
		return nil, false, nil
	}
	examples := c.examplesOf(func(v *placeValues) bool { return v.unfilled }, func(e *eventlog.DeviceExample, p *place) {
		e.Reason, e.Error = p.values.skipped, clip(p.unfilled(), maxRequester)
	})
	return c.event(eventlog.RolloutStalled, eventlog.Rollout{
		Batch: run.Batch, Reason: examples[0].Reason, Counts: c.counts(), Examples: examples, Message: fmt.Sprintf(
			"%s of batch %d %s until the labels that the score names are there: %s; nothing got on for %s",
			rollout.DevicesText(pl.unfilled), run.Batch, rollout.Verb(pl.unfilled, "waits", "wait"), examples[0].Error, pl.set.Deadline),
	})
}

func (c deploymentCase) fail(counts *eventlog.RolloutCounts) ([]eventlog.Draft, bool, error) {
	return c.event(eventlog.RolloutBatchFailed, eventlog.Rollout{
		Batch: c.log.Run.Batch, Reason: c.place.set.OnFailure, Counts: counts, Examples: c.examples(), Message: fmt.Sprintf(
			"%d of %d devices of batch %d are bad, at most %d may be", counts.Bad, counts.Given+counts.Waiting, c.log.Run.Batch, counts.Allowed),
	})
}

// afterFailure (B7, B9): the batch was judged as failed.
func (c deploymentCase) afterFailure(counts *eventlog.RolloutCounts) ([]eventlog.Draft, bool, error) {
	run, stable := &c.log.Run, &c.log.Stable
	reason := v1alpha1.ReasonBatchFailed
	if c.place.set.OnFailure == eventlog.OnFailureRollback {
		if stable.Content != "" && stable.Content != run.Target.Content {
			return c.start(startOf{target: *stable, kind: eventlog.RunRollback, reason: v1alpha1.ReasonBatchFailed})
		}
		reason = v1alpha1.ReasonNothingToRollBackTo
	}
	return c.event(eventlog.RolloutPaused, eventlog.Rollout{
		Batch: run.Batch, Reason: reason, Counts: counts, Examples: c.examples(), Message: fmt.Sprintf(
			"batch %d failed: %s %s bad, at most %d may be; undo it, mend it by a new revision, or give the devices another deadline by retry-failed",
			run.Batch, rollout.DevicesText(counts.Bad), rollout.Verb(counts.Bad, "is", "are"), counts.Allowed),
	})
}

// counts are the open batch's devices by how they count.
func (c deploymentCase) counts() *eventlog.RolloutCounts {
	n := &c.place.classes
	r := &eventlog.RolloutCounts{
		Proven: n[rollout.Proven], Silent: n[rollout.Silent], Lost: n[rollout.Lost], Waiting: n[rollout.Waiting], Offline: c.place.offline,
		Bad: n[rollout.Failed] + n[rollout.Silent] + n[rollout.Lost] + n[rollout.Flaps],
	}
	r.Given = r.Proven + r.Bad + n[rollout.Open]
	r.Allowed = c.place.set.Allowed(r.Given + r.Waiting)
	return r
}

// maxExamples is how many devices an event names.
const maxExamples = 10

// examples gives the bad devices of the open batch, the first in order.
func (c deploymentCase) examples() []eventlog.DeviceExample {
	return c.examplesOf(func(v *placeValues) bool { return v.class.Bad() }, func(e *eventlog.DeviceExample, p *place) {
		e.Reason = p.values.class.String()
		if pair := p.pair(); pair != nil && pair.Failed() {
			e.Reason, e.Error = cmp.Or(clip(pair.Reported.Reason, maxRequester), e.Reason), clip(pair.Reported.Error, maxRequester)
		}
	})
}

// examplesOf gives those devices of the open batch of which something holds, the first
// in order, each with what tell says of it.
func (c deploymentCase) examplesOf(holds func(*placeValues) bool, tell func(*eventlog.DeviceExample, *place)) []eventlog.DeviceExample {
	var those []*place
	for _, p := range c.place.places {
		if p.values.judged && holds(&p.values) {
			those = append(those, p)
		}
	}
	slices.SortFunc(those, byOrder)
	var examples []eventlog.DeviceExample
	for _, p := range those[:min(len(those), maxExamples)] {
		e := eventlog.DeviceExample{Device: p.id}
		tell(&e, p)
		examples = append(examples, e)
	}
	return examples
}

// grantable says whether Release can give something of it now, as far as the budgets of
// the present fold tell.
func (pl *placement) grantable() bool {
	return len(pl.fresh) > 0 || pl.servable()
}

// startOf is what a run is started with.
type startOf struct {
	target  fleet.Target
	kind    string // empty: what the strategy says
	reason  string
	request *fleet.Request
	restart uint64
}

// start gives rollout.started: the plan is frozen in it.
func (c deploymentCase) start(o startOf) ([]eventlog.Draft, bool, error) {
	set := &c.place.set
	r := eventlog.Rollout{
		Revision: o.target.Revision, ScoreHash: o.target.Content, Kind: o.kind, Strategy: set.Strategy, Reason: o.reason,
		Devices: c.place.matched, Online: c.place.online, Restart: o.restart,
	}
	if r.Kind == "" {
		r.Kind = eventlog.RunUpdate
		if set.Strategy == eventlog.StrategyImmediate {
			r.Kind = eventlog.RunImmediate
		}
	}
	if o.target.Hash != c.log.Spec.ScoreHash {
		r.Score = o.target.Score
	}
	if r.Kind == eventlog.RunImmediate || r.Kind == eventlog.RunRollback || set.First(c.log) {
		r.Batches = rollout.FirstCuts(c.place.matched)
	} else {
		var err error
		if r.Batches, err = set.Cuts(c.candidates(&o.target)); err != nil && !errors.Is(err, rollout.ErrPinMatchesNothing) {
			return nil, true, err
		}
	}
	if r.Kind == eventlog.RunUpdate {
		r.Shape = set.Shape
	}
	if r.Kind == eventlog.RunRollback {
		r.From = c.log.Run.Target.Revision
	}
	return c.answered(eventlog.RolloutStarted, r, o.request)
}

// candidates are the devices that match, for a plan. One for which the target cannot be
// filled in is no canary: it would be given nothing.
func (c deploymentCase) candidates(t *fleet.Target) []rollout.Candidate {
	tmpl := template.Of(t.Score)
	cs := make([]rollout.Candidate, 0, c.place.matched)
	for _, p := range c.place.places {
		if !p.values.matches {
			continue
		}
		answers := p.values.online
		if tmpl != nil && answers {
			r := rollout.Render(tmpl, t, p.dev)
			answers = r.Err == nil
		}
		cs = append(cs, rollout.Candidate{Order: p.order, Pin: c.place.set.Pin(p.labelSet()), Online: answers})
	}
	return cs
}

// event gives an event of the present run.
func (c deploymentCase) event(t eventlog.Type, r eventlog.Rollout) ([]eventlog.Draft, bool, error) {
	return c.answered(t, r, nil)
}

// answered gives an event of the present run that answers a request, if any.
func (c deploymentCase) answered(t eventlog.Type, r eventlog.Rollout, q *fleet.Request) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	if t != eventlog.RolloutStarted {
		r.Revision, r.ScoreHash, r.Run = run.Target.Revision, run.Target.Content, run.ID
		if r.Revision == 0 {
			r.Revision = c.log.Spec.Revision
		}
		r.Kind = run.Kind
		if r.Devices == 0 && c.place != nil {
			r.Devices = c.place.matched
		}
	}
	if r.Strategy == "" {
		r.Strategy = run.Strategy
	}
	cause := c.cause()
	if q != nil {
		r.Request, r.Verb, cause = q.Mark.Sequence, q.Verb, causeOf(q.Mark)
		if r.Message == "" {
			r.Message = clip(q.Reason, maxProblem)
		}
	}
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(c.key.Namespace, c.key.Name), t, c.now, r)
	d.CorrelationID, d.CausationID = correlation(c.key, r.Revision), cause
	if q != nil {
		d.Actor = q.User
	}
	return []eventlog.Draft{d}, true, err
}

// cause is the event because of which a run goes on: the spec's.
func (c deploymentCase) cause() string { return c.log.Applied.ID }
