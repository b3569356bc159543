package reconcile

import (
	"context"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
)

// pulling is the pull of an image that an update waits for. It goes on beside the
// work on its service.
type pulling struct {
	step   plan.Step
	cancel context.CancelFunc
}

type pullResult struct {
	step  plan.Step
	err   *engine.Error // nil: the image is here, or the context ended
	ended bool
	took  time.Duration
}

// pull begins a pull, unless one is under way for the service.
func (k *Reconciler) pull(ctx context.Context, s plan.Step) {
	if k.pulling[s.Key] != nil || !k.mayWork(s.Key, time.Now()) {
		return
	}
	inner, cancel := context.WithCancel(ctx)
	k.pulling[s.Key] = &pulling{step: s, cancel: cancel}
	k.work.Go(func() {
		defer cancel()
		began := time.Now()
		chain := k.perform(inner, plan.Chain{Key: s.Key, Why: plan.WhyChanged, Steps: []plan.Step{s}})
		k.pulls <- pullResult{step: s, err: chain.err, ended: chain.ended, took: time.Since(began)}
	})
}

// pulled tells the memory how a pull went, and the journal where it failed. That
// it succeeded is seen by the work that follows.
func (k *Reconciler) pulled(r pullResult) {
	delete(k.pulling, r.step.Key)
	now := k.o.Clock()
	lane := lane{r.step.Key, true}
	switch {
	case r.ended:
	case r.err != nil:
		k.memory = k.memory.Failed(r.step, r.err, now)
		k.tellFailure(lane, r.step, r.err, r.step.Spec.Revision, r.took)
	default:
		k.memory = k.memory.Succeeded(r.step, now)
		delete(k.failed, lane)
		k.o.Log.Info("image of an update pulled", "deployment", r.step.Deployment, "service", r.step.Service,
			"image", r.step.Spec.Service.Image, "took", r.took)
	}
}

// lane is where the steps of a service are done: in a row, or beside it.
type lane struct {
	plan.Key
	beside bool
}

// tellFailure logs a step that failed, and journals it: a row of the same failures
// is one event.
func (k *Reconciler) tellFailure(l lane, s plan.Step, err *engine.Error, revision uint64, took time.Duration) {
	k.o.Log.Warn("step failed", "deployment", s.Deployment, "service", s.Service, "step", s.Verb,
		"reason", err.Reason, "error", err)
	said := string(s.Verb) + " " + err.Reason
	if k.failed[l] == said {
		return
	}
	k.failed[l] = said
	k.o.Reports.Journal(eventlog.AgentStepFailed, eventlog.Step{
		Deployment: s.Deployment, Service: s.Service, Revision: revision, At: k.o.Clock().UTC(),
		Step: string(s.Verb), Reason: err.Reason, Error: err.Error(), Duration: took.Seconds(),
	})
}
