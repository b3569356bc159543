package decide

import (
	"cmp"
	"fmt"
	"slices"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/rollout"
)

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
