package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
)

// tick looks (if what it saw is out of date, or its time has come), plans, starts
// what is to be done and reports. It sets the moment of the next turn.
func (k *Reconciler) tick(ctx context.Context) {
	now := time.Now()
	if !now.Before(k.due) {
		k.stale = true
	}
	if k.stale {
		if at := k.looks.next(now); at.After(now) {
			k.due = at // events come in bursts
			return
		}
		k.looks.take(now)
		k.look(ctx)
		now = time.Now()
	}
	k.due = time.Time{}
	desired, err := k.o.Source.Desired()
	if err != nil {
		k.o.Log.Error("cannot read the desired state", "error", err)
		k.wakeBy(now.Add(lookWithoutFeed))
		return
	}
	if k.stale {
		k.reportAway(desired)
		k.wakeBy(now.Add(lookWithoutFeed))
		return
	}
	k.abandon(desired)
	clock := k.o.Clock()
	out := plan.Plan(plan.Input{
		Device: k.o.Device, Desired: desired, Observed: k.view(), Memory: k.memory, Kept: k.kept, Now: clock,
	})
	k.memory = out.Memory
	k.save(out.Kept)
	if !out.Wake.IsZero() {
		k.wakeBy(now.Add(out.Wake.Sub(clock)))
	}
	rest := lookAnyway
	if !k.feed.Load() {
		rest = lookWithoutFeed
	}
	k.wakeBy(k.looked.Add(rest))
	for _, c := range out.Chains {
		k.start(ctx, c)
	}
	for _, s := range out.Pulls {
		k.pull(ctx, s)
	}
	for _, c := range out.Checks {
		k.check(ctx, c)
	}
	k.forgetWork(now)
	k.report(out)
}

// look observes the containers.
func (k *Reconciler) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	began := time.Now()
	found, err := k.o.Engine.Observe(limited)
	if ctx.Err() != nil {
		return
	}
	k.metrics.observed(time.Since(began), err)
	if err != nil && limited.Err() != nil {
		err = fmt.Errorf("the engine has not listed its containers within %s: %w", lookTimeout, err)
	}
	if err != nil {
		k.awayError = engine.AsError(err, engine.ReasonObserveFailed)
		if k.awaySince.IsZero() {
			k.awaySince = k.o.Clock()
			k.o.Log.Warn("cannot list the containers; trying again", "reason", k.awayError.Reason, "error", err)
		}
		return
	}
	if !k.awaySince.IsZero() {
		k.o.Log.Info("listing the containers works again", "after", k.o.Clock().Sub(k.awaySince))
	}
	k.awaySince, k.awayError = time.Time{}, nil
	k.observed, k.looked, k.stale = k.own(found), time.Now(), false
}

// view is what was observed, but for the services that are being worked on:
// these look as they did when the work began, lest its middle be taken for
// something that happened to them.
func (k *Reconciler) view() []engine.Container {
	if len(k.busy) == 0 {
		return k.observed
	}
	seen := slices.DeleteFunc(slices.Clone(k.observed), func(c engine.Container) bool {
		return c.Device == k.o.Device && k.busy[plan.Key{Deployment: c.Deployment, Service: c.Service}] != nil
	})
	for _, w := range k.busy {
		seen = append(seen, w.before...)
	}
	return seen
}

// report passes on the states that changed.
func (k *Reconciler) report(out plan.Output) {
	now := k.o.Clock()
	current := make(map[string]eventlog.DeploymentState, len(out.States))
	phases := map[eventlog.Phase]int{}
	for _, s := range out.States {
		phases[s.Phase]++
		current[s.Deployment] = k.settleText(s, now)
	}
	k.states = current
	k.forgetDetails()
	k.metrics.phases(phases)
	for _, deployment := range out.Gone {
		k.o.Reports.Cleared(deployment)
	}
}

// reportAway says of what was reported that the engine does not answer.
func (k *Reconciler) reportAway(desired []plan.Desired) {
	now := k.o.Clock()
	if k.awayError == nil || now.Sub(k.awaySince) < awayGrace {
		return
	}
	text := k.awayError.Error()
	for _, d := range desired {
		if d.Withdrawn {
			continue
		}
		s, known := k.states[d.Deployment]
		if !known {
			s = eventlog.DeploymentState{DeviceID: k.o.Device, Deployment: d.Deployment}
		}
		s.Phase, s.Reason, s.LastError = eventlog.PhaseFailed, k.awayError.Reason, &text
		s.ScoreHash, s.Revision, s.Assignment = d.ScoreHash, d.Revision, d.Assignment
		k.states[d.Deployment] = k.settleText(s, now)
	}
}
