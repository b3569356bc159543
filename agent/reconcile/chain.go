package reconcile

import (
	"context"
	"fmt"
	"math"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
)

// How long one step may take. A pull goes on as long as it must: a device may
// have a very thin line.
const (
	stepTimeout = 2 * time.Minute
	pullTimeout = 2 * time.Hour
)

// work is a chain under way.
type work struct {
	chain    plan.Chain
	hash     string             // of the service that it leads to; empty where it removes
	revision uint64             // of the same
	before   []engine.Container // of the service, when it began
	cancel   context.CancelFunc
}

type chainResult struct {
	key   plan.Key
	done  []plan.Step
	spent []float64     // seconds that each of them took
	step  plan.Step     // that failed
	err   *engine.Error // nil: all steps were done, or the context ended
	ended bool          // the context ended before the chain did
	took  time.Duration
}

// start begins a chain, unless one is under way for the service.
func (k *Reconciler) start(ctx context.Context, c plan.Chain) {
	if k.busy[c.Key] != nil || !k.mayWork(c.Key, time.Now()) {
		return
	}
	inner, cancel := context.WithCancel(ctx)
	w := &work{chain: c, cancel: cancel}
	for _, s := range c.Steps {
		if s.Spec != nil {
			w.hash, w.revision = s.Spec.Service.Hash, s.Spec.Revision
		}
	}
	for _, seen := range k.observed {
		if seen.Device == k.o.Device && seen.Deployment == c.Deployment && seen.Service == c.Service {
			w.before = append(w.before, seen)
			if w.revision == 0 {
				w.revision = seen.Revision
			}
		}
	}
	k.busy[c.Key] = w
	if c.Why.Drift() {
		k.metrics.drift(string(c.Why))
		k.o.Log.Warn("container changed outside the fleet", "deployment", c.Deployment, "service", c.Service, "reason", c.Why)
		k.journal(eventlog.AgentDriftDetected, w, eventlog.Step{Step: verbs(c.Steps), Reason: string(c.Why)})
	}
	k.work.Go(func() {
		defer cancel()
		began := time.Now()
		r := k.perform(inner, c)
		r.took = time.Since(began)
		k.chains <- r
	})
}

// perform works a chain off. It runs beside the loop and touches nothing of it.
func (k *Reconciler) perform(ctx context.Context, c plan.Chain) chainResult {
	r := chainResult{key: c.Key}
	created := ""
	for _, s := range c.Steps {
		began := time.Now()
		err := k.step(ctx, s, &created)
		if ctx.Err() != nil {
			r.ended = true
			return r
		}
		if err != nil {
			r.step, r.err = s, engine.AsError(err, reasonOf(s.Verb))
			k.metrics.step(string(s.Verb), r.err.Reason)
			return r
		}
		k.metrics.step(string(s.Verb), "")
		k.o.Log.Debug("step done", "deployment", s.Deployment, "service", s.Service, "step", s.Verb, "took", time.Since(began))
		r.done = append(r.done, s)
		r.spent = append(r.spent, math.Round(time.Since(began).Seconds()*1000)/1000)
	}
	return r
}

func (k *Reconciler) step(ctx context.Context, s plan.Step, created *string) error {
	limit := stepTimeout
	if s.Verb == plan.VerbPull {
		limit = pullTimeout
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	id := s.Container
	if id == "" {
		id = *created
	}
	var err error
	switch s.Verb {
	case plan.VerbPull:
		err = k.o.Engine.Pull(limited, s.Spec.Service.Image, s.Spec.Service.PullPolicy, func(line string) {
			k.o.Log.Debug("pull", "image", s.Spec.Service.Image, "progress", line)
		})
	case plan.VerbCreate:
		*created, err = k.o.Engine.Create(limited, *s.Spec)
	case plan.VerbStart:
		err = k.o.Engine.Start(limited, id)
	case plan.VerbStop:
		err = k.o.Engine.Stop(limited, id)
	case plan.VerbRemove:
		err = k.o.Engine.Remove(limited, id)
	default:
		err = fmt.Errorf("step %q is not known", s.Verb)
	}
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return &engine.Error{
			Class: engine.ClassRetry, Reason: engine.AsError(err, reasonOf(s.Verb)).Reason,
			Err: fmt.Errorf("%s took longer than %s: %w", s.Verb, limit, err),
		}
	}
	return err
}

// reasonOf is the reason of a step that failed without one, such as one that the
// engine never answered.
func reasonOf(v plan.Verb) string {
	switch v {
	case plan.VerbPull:
		return engine.ReasonImagePullFailed
	case plan.VerbCreate:
		return engine.ReasonCreateFailed
	case plan.VerbStart:
		return engine.ReasonStartFailed
	case plan.VerbStop:
		return engine.ReasonStopFailed
	default:
		return engine.ReasonRemoveFailed
	}
}

// finish tells the memory and the journal how a chain went.
func (k *Reconciler) finish(r chainResult) {
	w := k.busy[r.key]
	delete(k.busy, r.key)
	now := k.o.Clock()
	for _, s := range r.done {
		k.memory = k.memory.Succeeded(s, now)
		if s.Verb == plan.VerbCreate {
			// Another score may come before the container is seen.
			k.save(k.kept.With(*s.Spec))
		}
	}
	switch {
	case r.ended:
	case r.err != nil:
		k.memory = k.memory.Failed(r.step, r.err, now)
		k.tellFailure(lane{Key: r.key}, r.step, r.err, w.revision, r.took)
	default:
		delete(k.failed, lane{Key: r.key})
		t := eventlog.AgentStepSucceeded
		if w.chain.Why.Drift() {
			t = eventlog.AgentDriftRepaired
		}
		k.o.Log.Info("service reconciled", "deployment", r.key.Deployment, "service", r.key.Service,
			"reason", w.chain.Why, "steps", verbs(w.chain.Steps), "took", r.took)
		k.journal(t, w, eventlog.Step{Step: verbs(w.chain.Steps), Reason: string(w.chain.Why), Duration: r.took.Seconds(), Seconds: each(r.spent)})
	}
}

// each tells how long each of several steps took.
func each(spent []float64) []float64 {
	if len(spent) < 2 {
		return nil
	}
	return spent
}

// abandon cuts short what leads to a score that is desired no longer, so that a
// slow pull does not hold up its correction. What keeps a service in its present
// revision goes on.
func (k *Reconciler) abandon(desired []plan.Desired) {
	if len(k.busy)+len(k.pulling) == 0 {
		return
	}
	wanted := map[plan.Key]string{}
	withdrawn := map[string]bool{}
	for _, d := range desired {
		withdrawn[d.Deployment] = d.Withdrawn
		for _, s := range d.Score.Services {
			if !d.Withdrawn {
				wanted[plan.Key{Deployment: d.Deployment, Service: s.Name}] = s.Hash
			}
		}
	}
	for key, w := range k.busy {
		kept := k.kept[key].Service.Hash
		if w.hash != "" && w.hash != wanted[key] && (w.hash != kept || withdrawn[key.Deployment]) {
			w.cancel()
		}
	}
	for key, p := range k.pulling {
		if p.step.Spec.Service.Hash != wanted[key] {
			p.cancel()
		}
	}
}

func (k *Reconciler) journal(t eventlog.Type, w *work, s eventlog.Step) {
	s.Deployment, s.Service, s.Revision, s.At = w.chain.Deployment, w.chain.Service, w.revision, k.o.Clock().UTC()
	k.o.Reports.Journal(t, s)
}

// verbs names a chain's steps, as in "pull+create+start".
func verbs(steps []plan.Step) string {
	text := ""
	for i, s := range steps {
		if i > 0 {
			text += "+"
		}
		text += string(s.Verb)
	}
	return text
}
