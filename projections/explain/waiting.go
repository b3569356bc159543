package explain

import (
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/timeline"
)

// at is the moment that the answer is about, by the log's clock.
func (s *evidence) at() time.Time {
	if !s.question.At.IsZero() {
		return s.question.At
	}
	return s.now()
}

// fleet is the whole fleet, as far as it is known.
func (s *evidence) fleet() *fleet.View {
	if s.whole != nil || s.failed != nil || s.question.Fleet == nil {
		return s.whole
	}
	s.whole, s.failed = s.question.Fleet()
	return s.whole
}

// wait is the first thing that the device waits for in the Deployment's rollout. What
// the log says of the device alone is looked at first; the whole fleet is asked for where
// others have a part in it.
func (c placement) wait() rollout.Wait {
	if c.d == nil || c.d.Lifecycle != fleet.Applied {
		return rollout.Wait{}
	}
	if w, ok := c.waits[c.key]; ok {
		return w
	}
	w := rollout.Why(c.view, c.d, c.dev, c.at())
	if mark := c.rollouts[w.Sequence]; mark != nil {
		w.Sequence = mark.Sequence // by the log's own count
	}
	if dependsOnOthers(w.Kind) {
		if v := c.fleet(); v != nil && v.Deployments[c.key] != nil && v.Devices[c.id] != nil {
			w = rollout.Why(v, v.Deployments[c.key], v.Devices[c.id], c.at())
		}
	}
	c.waits[c.key] = w
	return w
}

// dependsOnOthers says whether what the log says of one device alone is not enough to say
// what it waits for.
func dependsOnOthers(k rollout.WaitKind) bool {
	switch k {
	case rollout.WaitBatch, rollout.WaitSoak, rollout.WaitDependency, rollout.WaitMaxUnavailable, rollout.WaitBudget, rollout.WaitOperator,
		rollout.WaitWindow, rollout.WaitRate, rollout.WaitGate:
		return true
	}
	return false
}

// waitsFor is what the device waits for, where that is anything.
func (c placement) waitsFor() *rollout.Wait {
	if c.dev.Decommissioned || !c.match && !c.assigned() {
		return nil
	}
	w := c.wait()
	if w.Kind == rollout.WaitNothing && w.Batches <= 1 || w.Message == "" {
		return nil
	}
	return &w
}

// waiting says what the device waits for, and cites the event that began it.
func (c placement) waiting(w rollout.Wait) Sentence {
	text := w.Message
	switch w.Kind {
	case rollout.WaitBudget:
		if v := c.fleet(); v != nil && v.Budgets[w.Name] != nil {
			b := v.Budgets[w.Name].Applied
			return Sentence{Text: text, Sequence: b.Sequence, Type: eventlog.BudgetApplied, Time: b.At}
		}
	case rollout.WaitNameConflict:
		return c.citing(c.marks.assigned, text)
	case rollout.WaitReport:
		return c.citing(c.marks.desired, text)
	case rollout.WaitOffline:
		return c.citing(c.presence, text)
	case rollout.WaitValue, rollout.WaitValueInvalid:
		if c.labels != nil {
			return c.citing(c.labels, text)
		}
	}
	for _, m := range c.rollouts {
		if m.Sequence == w.Sequence && w.Sequence > 0 {
			return c.citing(m, text)
		}
	}
	if c.spec.rollout != nil && c.d.Run.ID > 0 && c.d.Run.Target.Revision == c.d.Spec.Revision {
		return c.citing(c.spec.rollout, text)
	}
	return c.citing(&c.spec.now.mark, text)
}

// specOnDevice says whether the device has the spec's content, under whatever number.
func (c placement) specOnDevice() bool {
	if !c.assigned() || c.d == nil {
		return false
	}
	spec := c.d.SpecTarget()
	return c.p.Has(&spec)
}

// heldBack: something has to happen before the Deployment goes to the device, and not
// just the operator's next round.
func (c placement) heldBack() bool {
	switch c.wait().Kind {
	case rollout.WaitNothing, rollout.WaitOperator, rollout.WaitNoDevice:
		return false
	}
	return true
}

// nextOfRollout says what the rollout has to do with a device that has the Deployment.
func (c placement) nextOfRollout() []Sentence {
	w := c.wait()
	switch {
	case w.Kind == rollout.WaitNothing:
		return nil
	case w.Kind == rollout.WaitOperator && c.specOnDevice():
		return nil
	case w.Kind == rollout.WaitOperator:
		return []Sentence{c.citing(&c.spec.now.mark, fmt.Sprintf("the operator assigns revision %d: %s", c.spec.now.spec.Revision, w.Message))}
	case w.Kind == rollout.WaitReport && w.Until == nil, w.Kind == rollout.WaitOffline && c.p.Desired.Revision == w.Revision:
		return nil // the state says it
	}
	return []Sentence{c.waiting(w)}
}

// run says how far the rollout has got, and which batch the device is in.
func (c placement) run() []Sentence {
	if c.d == nil || c.spec.started == nil || c.d.Run.ID == 0 {
		return nil
	}
	run := &c.d.Run
	var out []Sentence
	if !rollout.Immediate(run) {
		text := fmt.Sprintf("the rollout of revision %d started", run.Target.Revision)
		switch run.Kind {
		case eventlog.RunRollback:
			text = fmt.Sprintf("the rollback to revision %d started", run.Target.Revision)
		case eventlog.RunRestart:
			text = fmt.Sprintf("the restart of revision %d started", run.Target.Revision)
		}
		if n := len(run.Batches); n > 1 {
			text += fmt.Sprintf(" in %d batches", n)
			if w := c.wait(); w.Batch > 0 && c.match {
				text += fmt.Sprintf("; %s is in batch %d", c.id, w.Batch)
			}
		}
		out = append(out, c.citing(c.spec.started, text))
	}
	if r := c.spec.rollout; r != nil && r.kind != eventlog.RolloutStarted {
		out = append(out, c.citing(r, timeline.RolloutText(r.kind, c.spec.told, len(run.Batches))))
	}
	return out
}
