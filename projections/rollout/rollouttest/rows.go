package rollouttest

import (
	"errors"
	"fmt"
	"slices"

	"fleet.nationtech.io/eventlog"
)

// row holds an event of a rollout against the guard of its row of the design's table.
func (l *Laws) row(c *course, e Event) error {
	if e.Answers > 0 {
		return l.answer(c, e)
	}
	if e.Type == eventlog.RolloutRequestRefused {
		return errors.New("it answers no request")
	}
	if e.Type == eventlog.RolloutPromoted {
		return l.annotated(c, e)
	}
	// "Rows R before S before B."
	if len(c.requests) > 0 {
		return fmt.Errorf("it goes on while request %d waits", c.requests[0].Sequence)
	}
	if !c.applied {
		return errors.New("S1: nothing moves while there is no object")
	}
	if e.Batch > 0 && e.Batch != c.batch && e.Type != eventlog.RolloutBatchStarted {
		return fmt.Errorf("it speaks of batch %d, and batch %d is open", e.Batch, c.batch)
	}
	if due := l.due(c, e.Deployment, e.Decided); due.typ != e.Type || due.reason != "" && due.reason != e.Reason || due.kind != "" && due.kind != e.Kind {
		return fmt.Errorf("%s %s %s is not due; due is %+v; tally %+v, %+v", e.Type, e.Reason, e.Kind, due, l.tally(c, e.Deployment, e.Decided), *c)
	}
	if e.Type == eventlog.RolloutStarted && e.Kind == eventlog.RunRollback && e.Target != c.stable {
		return fmt.Errorf("B7: a rollback to %+v, and stable is %+v", e.Target, c.stable)
	}
	return nil
}

// due is the row of the design's table that holds, and what it says; the zero value:
// none does.
type due struct {
	row          string
	typ          eventlog.Type
	reason, kind string
}

// idle is since when the batch has not got on, in time that its windows left it.
func (c *course) idle(t tally, now int64) int64 {
	return max(c.batchAt, t.newest, c.opened(now))
}

// opened is when the run's windows opened; 0: they are closed, or it has none.
func (c *course) opened(now int64) int64 {
	if !c.paced() {
		return 0
	}
	return c.spec.Window.since(now)
}

// kind is that of a run of the spec's own content.
func (sp Spec) kind() string {
	if sp.Strategy == eventlog.StrategyImmediate {
		return eventlog.RunImmediate
	}
	return eventlog.RunUpdate
}

// due reads the table of section 3 in its order, S and B, over what the log said of each
// device.
func (l *Laws) due(c *course, key string, now int64) due {
	pause := func(row, reason string) due { return due{row, eventlog.RolloutPaused, reason, ""} }
	wants := c.refused != c.spec.Content
	another := c.run == 0 || c.target.Revision != c.spec.Revision || c.kind == eventlog.RunRollback || c.end == eventlog.RolloutSuperseded ||
		c.unproven && l.matched(c, key) > 0
	switch {
	// S2: "spec's content ≠ Refused, and (target ≠ spec's revision, or kind is Rollback)".
	case wants && another && c.going():
		return due{"S2", eventlog.RolloutSuperseded, "", ""}
	case wants && another:
		return due{"S2", eventlog.RolloutStarted, "Applied", c.spec.kind()}
	// S3: "kind Update, not Completed, not refused, sizes or pins ≠ Shape".
	case c.kind == eventlog.RunUpdate && c.going() && c.refused == "" && c.shape != c.spec.shape():
		return due{"S3", eventlog.RolloutStarted, "PlanChanged", c.spec.kind()}
	// S4: "the log was restored, nothing was decided in it yet, Run progresses".
	case c.going() && !c.paused && c.kind != eventlog.RunImmediate && c.decided <= l.restored:
		return pause("S4", "LogRestored")
	// "A pinned batch whose selector nobody matches makes S2 end in PinMatchesNothing."
	case c.going() && !c.paused && c.kind != eventlog.RunRollback && c.batch == 1 && !c.passed && !c.resumed &&
		slices.ContainsFunc(c.plan, func(b Planned) bool { return b.Pinned && b.Size == 0 }):
		return pause("S2", "PinMatchesNothing")
	// B0: "hold, or phase ∉ {Progressing, RollingBack}".
	case !c.going() || c.still():
		return due{}
	case c.kind == eventlog.RunImmediate:
		return l.dueImmediate(c, key)
	case c.kind == eventlog.RunRollback:
		return l.dueRollback(c, key, now)
	// B7, B9: what follows from batch_failed.
	case c.failed && !c.through():
		switch back := c.stable.Content != "" && c.stable.Content != c.target.Content; {
		case c.spec.OnFailure == eventlog.OnFailureRollback && back:
			return due{"B7", eventlog.RolloutStarted, "BatchFailed", eventlog.RunRollback}
		case c.spec.OnFailure == eventlog.OnFailureRollback:
			return pause("B9", "NothingToRollBackTo")
		}
		return pause("B9", "BatchFailed")
	// B3: "Passed; last batch".
	case c.through() && c.last():
		return due{"B3", eventlog.RolloutCompleted, "", ""}
	// B4: "Passed; next one's approval is there or not needed, window open".
	case c.through() && (!c.settings().Manual || c.approved || c.free) && !c.shut(now):
		return due{"B4", eventlog.RolloutBatchStarted, "", ""}
	case c.through():
		return due{}
	// B5: "nobody matches".
	case l.matched(c, key) == 0:
		return due{"B5", eventlog.RolloutCompleted, NoDeviceMatches, ""}
	// B6: "this leader has not listened for one offline timeout since it was elected".
	case now-l.elected < OfflineTimeout:
		return due{}
	}
	return l.dueBatch(c, key, now)
}

// dueImmediate is B0a: "all that match are given it and succeeded".
func (l *Laws) dueImmediate(c *course, key string) due {
	n := 0
	for _, w := range l.devices {
		if !l.matches(c, key, w) {
			continue
		}
		n++
		if f := w.names[nameOf(key)]; f == nil || f.holder != key || !f.target.Same(c.target) || !f.fits(w) || !f.is(eventlog.PhaseRunning) {
			return due{}
		}
	}
	if n == 0 {
		return due{}
	}
	return due{"B0a", eventlog.RolloutCompleted, "", ""}
}

// dueRollback is B1, "no online device that matches holds something else than the
// target, none at work within its deadline", and B2, "some left, none at work, nothing
// can be granted".
func (l *Laws) dueRollback(c *course, key string, now int64) due {
	left, open, newest := l.atWork(c, key, now)
	switch {
	case left+open == 0:
		return due{"B1", eventlog.RolloutRolledBack, "", ""}
	case open == 0 && !l.grantable(c, key, now) && now-max(c.batchAt, newest) >= c.spec.Deadline:
		return due{"B2", eventlog.RolloutPaused, "RollbackFailed", ""}
	}
	return due{}
}

// dueBatch is B7 to B13, over the devices of the open batch.
func (l *Laws) dueBatch(c *course, key string, now int64) due {
	t := l.tally(c, key, now)
	settled := t.open+t.waiting == 0
	overdue := now-c.batchAt >= c.spec.Deadline
	failed := t.bad > t.allowed(c)
	wait := c.spec.OfflineDevices == eventlog.OfflineWait && t.offline > 0
	switch {
	// R3: "full: the rest is not judged (budgets hold)".
	case c.free && t.waiting == 0:
		return due{"B10", eventlog.RolloutBatchSucceeded, "", ""}
	case c.free:
	// B7, B9: "bad > allowed"; B8: "Continue; nothing open, nothing waiting".
	case failed && (c.spec.OnFailure != eventlog.OnFailureContinue || settled):
		return due{"B7", eventlog.RolloutBatchFailed, "", ""}
	// "Wait: the batch is not judged while a member is offline, for one deadline from its
	// start; then Paused OfflineDevices".
	case wait && overdue:
		return due{"Wait", eventlog.RolloutPaused, "OfflineDevices", ""}
	case wait:
		return due{}
	// A run that nobody was given, for what it depends on is not there or its devices went
	// offline before that was healthy, is not complete: it waits, and says so by the rule
	// of section 7.
	case settled && t.counted() == 0 && t.missing+t.unfilled > 0 && len(c.plan) == 1:
		if c.stalled || c.shut(now) || c.waitsForRate(now) || now-c.idle(t, now) < c.spec.Deadline {
			return due{}
		}
		if t.missing == 0 {
			return due{"Stall", eventlog.RolloutStalled, "TemplateValueMissing", ""}
		}
		return l.dueStall(key)
	// B10: "nothing open, nothing waiting, gates hold, and at least one proven, or it is the
	// last batch"; B12: "a gate says no or nothing for the deadline".
	case settled && (t.proven > 0 || c.last() || c.plan[c.batch-1].Size == 0):
		return c.dueGates(now)
	// B11: "nothing given, nothing waiting, BatchAt + deadline passed", in one window.
	case settled && !c.shut(now) && now-max(c.batchAt, c.opened(now)) >= c.spec.Deadline:
		return due{"B11", eventlog.RolloutPaused, "NothingProven", ""}
	case settled:
		return due{}
	}
	// B13: "something waits, nothing open, nothing can be granted for budgets, for the
	// deadline"; where all that waits does so for another Deployment, section 7: "written
	// once a batch that has made no progress for a deadline".
	switch stuck := t.waiting > 0 && t.open == 0 && !c.shut(now) && !c.waitsForRate(now) && now-c.idle(t, now) >= c.spec.Deadline; {
	case !stuck || l.grantable(c, key, now):
		return due{}
	case t.ready > 0:
		return due{"B13", eventlog.RolloutPaused, "BudgetExhausted", ""}
	case c.stalled:
		return due{}
	}
	return l.dueStall(key)
}

func (l *Laws) dueStall(key string) due {
	reason := "AwaitingDependencies"
	if l.cyclic(key) {
		reason = "DependencyCycle"
	}
	return due{"Stall", eventlog.RolloutStalled, reason, ""}
}

// dueGates is B10 and B12 of a batch that waits for its gates alone.
func (c *course) dueGates(now int64) due {
	gates := c.settings().Gates
	if !slices.ContainsFunc(gates, func(g Gate) bool { return c.lasts(g, true, now) < g.For }) {
		return due{"B10", eventlog.RolloutBatchSucceeded, "", ""}
	}
	for _, g := range gates {
		if c.lasts(g, false, -1) < c.spec.Deadline {
			continue
		}
		reason := "GateFailed"
		if c.newest(g).Verdict == eventlog.GateNone {
			reason = "GateUnanswered"
		}
		return due{"B12", eventlog.RolloutPaused, reason, ""}
	}
	return due{}
}

// newest gives the last answer about a gate.
func (c *course) newest(g Gate) (e Event) {
	for _, a := range c.answers {
		if a.Gate == g {
			e = a
		}
	}
	return e
}

// lasts is for how long all answers about a gate passed, or did not, up to its last one,
// with none further apart than two questions; -1: the last one says otherwise, or is older
// than that at a moment (-1: whenever).
func (c *course) lasts(g Gate, pass bool, now int64) int64 {
	var of []Event
	for _, a := range c.answers {
		if a.Gate == g {
			of = append(of, a)
		}
	}
	apart := func(n int, later int64) bool { return later-of[n-1].At > 2*g.every(n) }
	n := len(of)
	if n == 0 || (of[n-1].Verdict == eventlog.GatePass) != pass || now >= 0 && apart(n, now) {
		return -1
	}
	first := n
	for first > 1 && (of[first-2].Verdict == eventlog.GatePass) == pass && !apart(first-1, of[first-1].At) {
		first--
	}
	return of[n-1].At - of[first-1].At
}

// Settled holds the log against the laws at a moment at which the engine has nothing to
// say: no row holds, and each device has what there is room for.
func (l *Laws) Settled(now int64) error {
	for key, c := range l.deployments {
		switch {
		case len(c.requests) > 0 && (c.applied || c.orphaned):
			return fmt.Errorf("request %d about %s is not answered", c.requests[0].Sequence, key)
		case c.deleted:
			for id, w := range l.devices {
				if f := w.names[nameOf(key)]; f != nil && f.holder == key {
					return fmt.Errorf("%s was deleted, and %s has it", key, id)
				}
			}
		}
		if !c.applied {
			continue
		}
		if due := l.due(c, key, now); due.typ != "" {
			return fmt.Errorf("row %s of %s holds, and the engine did not write its event: %s %s; %+v, %+v", due.row, key, due.typ, due.reason, l.tally(c, key, now), *c)
		}
		// "a budget never keeps a fix from what is broken", and nothing else keeps what has
		// room.
		if id, what := l.owed(c, key, now); id != "" {
			return fmt.Errorf("%s on %s %s, and is kept waiting: %+v", key, id, what, *l.devices[id].names[nameOf(key)])
		}
	}
	return nil
}
