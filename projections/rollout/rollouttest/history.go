package rollouttest

import (
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// remember folds an event into the history that the laws look at.
func (l *Laws) remember(e Event) {
	switch {
	case e.Type == eventlog.LeaderElected:
		l.elected = e.At
	case e.Type == LogRestored:
		l.restored = e.Sequence
	case e.Type == Annotated:
		l.annotations[e.Deployment] = e.Annotation
	case e.Type == eventlog.BudgetApplied:
		l.budgets[e.Budget] = e.Limit
	case e.Type == eventlog.BudgetDeleted:
		delete(l.budgets, e.Budget)
	case e.Device != "":
		l.rememberDevice(e)
	case e.Deployment != "":
		c := l.deployments[e.Deployment]
		if c == nil {
			c = &course{}
			l.deployments[e.Deployment] = c
		}
		l.rememberDeployment(c, e)
	}
}

func (l *Laws) rememberDevice(e Event) {
	w := l.devices[e.Device]
	if w == nil {
		w = &witness{names: map[string]*fate{}}
		l.devices[e.Device] = w
	}
	name := nameOf(e.Deployment)
	defer func() {
		for _, f := range w.names {
			f.note(w.online, e.At)
		}
	}()
	switch e.Type {
	case eventlog.DeviceRelabeled:
		w.labels, w.known = e.Labels, e.Labels
	case DeviceGone:
		w.labels = nil
	case eventlog.DeviceOnline, eventlog.DeviceOffline:
		w.online = e.Type == eventlog.DeviceOnline
		for _, f := range w.names {
			f.lost = !w.online && f.upset && !f.is(eventlog.PhaseRunning)
			f.off = f.off && !w.online
		}
	default:
		f := w.names[name]
		if f == nil {
			f = &fate{}
			w.names[name] = f
		}
		f.fold(e, w.online)
		if on := l.deployments[f.holder]; on != nil && on.run > 0 && f.changed > on.run && f.is(eventlog.PhaseRunning) {
			on.succeeded[f.changed] = true
		}
		c := l.deployments[e.Deployment]
		switch e.Type {
		case eventlog.DesiredAssigned:
			delete(c.member, e.Device)
			if e.Batch > 0 {
				c.member[e.Device] = e.Batch
			}
			if f.changed == e.Sequence && c.rated() {
				c.next = max(c.next, e.At*1000) + c.spec.Rate.interval(len(c.succeeded))
			}
			if f.upset && f.changed == e.Sequence {
				c.given[e.Device] = append(c.given[e.Device], e.Target)
			}
		case eventlog.DesiredWithdrawn:
			delete(c.member, e.Device)
			delete(c.given, e.Device) // what left may be given the same again
		}
	}
}

func (f *fate) fold(e Event, online bool) {
	switch e.Type {
	case eventlog.DesiredAssigned:
		if f.holder != e.Deployment || !f.target.Same(e.Target) || f.target.Value != e.Target.Value {
			f.upset, f.lost, f.off = f.holder != "" && online, false, false
			f.changed, f.changedAt = e.Sequence, e.At
		}
		f.holder, f.leaving, f.target = e.Deployment, "", e.Target
	case eventlog.DesiredWithdrawn:
		*f = fate{phase: f.phase, told: f.told, older: f.older, spoke: f.spoke, toldAt: f.toldAt, well: f.well, failing: f.failing}
		if e.Reason != "Deleted" {
			f.leaving = e.Deployment
		}
	case eventlog.StateReported:
		f.phase, f.told, f.older, f.spoke, f.toldAt = e.Phase, e.Assignment, e.Older, e.Target, e.Sequence
		if f.is(eventlog.PhaseRunning) {
			f.lost, f.off = false, false
		}
	case eventlog.StateCleared:
		f.phase, f.told = "", 0
	}
}

func (l *Laws) rememberDeployment(c *course, e Event) {
	if strings.HasPrefix(string(e.Type), "rollout.") && e.Type != eventlog.RolloutRequestRefused && e.Type != eventlog.RolloutGateMeasured {
		c.decided = e.Sequence
	}
	c.requests = slices.DeleteFunc(c.requests, func(q Request) bool { return q.Sequence == e.Answers })
	switch e.Type {
	case eventlog.RequestMade:
		if q := e.Request; len(c.requests) < maxRequests && (c.applied || c.orphaned) {
			q.Sequence = e.Sequence
			c.requests = append(c.requests, q)
		}
	case eventlog.DeploymentApplied:
		if c.refused != e.Spec.Content {
			c.refused = ""
		}
		if c.spec.Revision != e.Spec.Revision {
			c.contents = append(c.contents, Target{Revision: e.Spec.Revision, Content: e.Spec.Content})
			c.contents = c.contents[max(0, len(c.contents)-kept):]
		}
		if c.spec.Paused && !e.Spec.Paused && c.going() && !c.paused {
			l.renew(c, e)
		}
		if c.spec.Rate != e.Spec.Rate {
			c.next = 0
		}
		c.spec, c.applied, c.orphaned, c.deleted = e.Spec, true, false, false
	case eventlog.DeploymentAdopted:
		c.applied, c.orphaned = true, false
	case eventlog.DeploymentOrphaned:
		c.applied, c.orphaned = false, true
	case eventlog.DeploymentDeleted:
		*c = course{spec: c.spec, contents: c.contents, deleted: true}
	case eventlog.RolloutStarted:
		l.rememberStart(c, e)
	case eventlog.RolloutBatchStarted:
		c.batch, c.batchAt, c.passed, c.failed, c.approved, c.stalled, c.answers = e.Batch, e.At, false, false, false, false, nil
	case eventlog.RolloutGateMeasured:
		c.answers = append(c.answers, e)
	case eventlog.RolloutBatchSucceeded, eventlog.RolloutBatchFailed:
		c.failed = c.failed || e.Type == eventlog.RolloutBatchFailed
		c.passed = c.passed || e.Type == eventlog.RolloutBatchSucceeded
		l.ours(c, e, func(f *fate) { f.off = f.off || f.lost })
	case eventlog.RolloutPromoted:
		c.passed, c.approved, c.free, c.failed, c.paused, c.resumed = true, true, c.free || e.Full, false, false, true
	case eventlog.RolloutStalled:
		c.stalled = true
	case eventlog.RolloutPaused:
		if e.Answers > 0 {
			c.hold = true
		} else {
			c.paused, c.failed = true, false
		}
	case eventlog.RolloutResumed:
		c.hold = false
		if c.paused {
			c.paused, c.failed, c.resumed = false, false, true
			l.renew(c, e)
		} else if c.going() {
			l.renew(c, e)
		}
	case eventlog.RolloutAborted:
		if c.kind != eventlog.RunRestart {
			c.refused = c.spec.Content
		}
		c.end, c.paused = e.Type, false
	case eventlog.RolloutCompleted:
		c.end, c.unproven = e.Type, e.Reason == NoDeviceMatches
		if !c.unproven {
			c.settle(c.target)
		}
	case eventlog.RolloutRolledBack, eventlog.RolloutSuperseded:
		c.end, c.paused = e.Type, false
	}
}

// renew gives the devices of a run another deadline: "BatchAt and the bad devices' clocks
// begin anew".
func (l *Laws) renew(c *course, e Event) {
	c.stalled, c.began, c.batchAt, c.answers = false, e.At, e.At, nil
	l.ours(c, e, func(f *fate) { f.failingAt = e.At })
}

// ours goes through the devices that have the run's target.
func (l *Laws) ours(c *course, e Event, do func(*fate)) {
	for _, w := range l.devices {
		if f := w.names[nameOf(e.Deployment)]; f != nil && f.holder == e.Deployment && f.target.Same(c.target) {
			do(f)
		}
	}
}

// settle: what a run brought out is what others may go back to.
func (c *course) settle(t Target) {
	if c.stable.Content != "" && c.stable.Content != t.Content {
		c.before = c.stable
	}
	c.stable = t
}

func (l *Laws) rememberStart(c *course, e Event) {
	if c.kind == eventlog.RunImmediate && c.end != eventlog.RolloutCompleted {
		all, have := 0, 0
		for _, w := range l.devices {
			if f := w.names[nameOf(e.Deployment)]; f != nil && f.holder == e.Deployment {
				all++
				if f.target.Same(c.target) {
					have++
				}
			}
		}
		if all > 0 && all == have {
			c.settle(c.target)
		}
	}
	if e.Kind == eventlog.RunRollback {
		c.refused, c.stable = c.spec.Content, e.Target
	} else if e.Kind != eventlog.RunRestart {
		c.refused = ""
	}
	*c = course{
		spec: c.spec, applied: c.applied, orphaned: c.orphaned, hold: c.hold, requests: c.requests, refused: c.refused,
		stable: c.stable, before: c.before, contents: c.contents, decided: c.decided,
		run: e.Sequence, batch: 1, batchAt: e.At, kind: e.Kind, target: e.Target, plan: e.Plan, shape: e.Shape, began: e.At,
		given: map[string][]Target{}, member: map[string]int{}, succeeded: map[int]bool{},
	}
}
