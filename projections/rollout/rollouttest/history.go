package rollouttest

import "fleet.nationtech.io/eventlog"

// remember folds an event into the history that the laws look at.
func (l *Laws) remember(e Event) {
	switch {
	case e.Type == eventlog.BudgetApplied:
		l.budgets[e.Budget] = e.Limit
	case e.Type == eventlog.BudgetDeleted:
		delete(l.budgets, e.Budget)
	case e.Device != "":
		l.rememberDevice(e)
	case e.Deployment != "":
		c := l.deployments[e.Deployment]
		if c == nil {
			c = &course{open: map[int]bool{}}
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
	switch e.Type {
	case eventlog.DeviceRelabeled:
		w.labels = e.Labels
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
		c := l.deployments[e.Deployment]
		switch e.Type {
		case eventlog.DesiredAssigned:
			delete(c.member, e.Device)
			if e.Batch > 0 {
				c.member[e.Device] = e.Batch
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
		if f.holder != e.Deployment || !f.target.Same(e.Target) {
			f.upset, f.lost, f.off = f.holder != "" && online, false, false
			f.changed, f.changedAt = e.Sequence, e.At
		}
		f.holder, f.leaving, f.target = e.Deployment, "", e.Target
	case eventlog.DesiredWithdrawn:
		*f = fate{phase: f.phase, told: f.told}
		if e.Reason != "Deleted" {
			f.leaving = e.Deployment
		}
	case eventlog.StateReported:
		f.phase, f.told = e.Phase, e.Assignment
		if f.is(eventlog.PhaseRunning) {
			f.lost, f.off = false, false
		}
	case eventlog.StateCleared:
		f.phase, f.told = "", 0
	}
}

func (l *Laws) rememberDeployment(c *course, e Event) {
	delete(c.open, e.Answers)
	switch e.Type {
	case eventlog.RequestMade:
		if len(c.open) < maxRequests && (c.applied || c.orphaned) {
			c.open[e.Sequence] = true
		}
	case eventlog.DeploymentApplied:
		if c.refused != e.Spec.Content {
			c.refused = ""
		}
		c.spec, c.applied, c.orphaned = e.Spec, true, false
	case eventlog.DeploymentAdopted:
		c.applied, c.orphaned = true, false
	case eventlog.DeploymentOrphaned:
		c.applied, c.orphaned = false, true
	case eventlog.DeploymentDeleted:
		*c = course{spec: c.spec, open: map[int]bool{}}
	case eventlog.RolloutStarted:
		l.rememberStart(c, e)
	case eventlog.RolloutBatchStarted:
		c.batch, c.passed, c.failed, c.approved = e.Batch, false, false, false
	case eventlog.RolloutBatchSucceeded, eventlog.RolloutBatchFailed:
		c.failed = e.Type == eventlog.RolloutBatchFailed
		c.passed = !c.failed || c.spec.OnFailure == eventlog.OnFailureContinue
		for _, w := range l.devices {
			if f := w.names[nameOf(e.Deployment)]; f != nil && f.holder == e.Deployment && f.lost && f.target.Same(c.target) {
				f.off = true
			}
		}
	case eventlog.RolloutPromoted:
		c.passed, c.approved, c.free, c.failed, c.paused = true, true, c.free || e.Full, false, false
	case eventlog.RolloutPaused:
		if e.Reason == "Requested" {
			c.hold = true
		} else {
			c.paused = true
		}
	case eventlog.RolloutResumed:
		c.hold = false
		if c.paused {
			c.paused, c.failed, c.began = false, false, e.At
		}
	case eventlog.RolloutAborted:
		if c.kind != eventlog.RunRestart {
			c.refused = c.spec.Content
		}
		c.going, c.paused = false, false
	case eventlog.RolloutCompleted, eventlog.RolloutRolledBack, eventlog.RolloutSuperseded:
		c.going, c.paused, c.unproven = false, false, e.Reason == NoDeviceMatches
	}
}

func (l *Laws) rememberStart(c *course, e Event) {
	if e.Kind == eventlog.RunRollback {
		c.refused = c.spec.Content
	} else if e.Kind != eventlog.RunRestart {
		c.refused = ""
	}
	*c = course{
		spec: c.spec, applied: c.applied, orphaned: c.orphaned, hold: c.hold, open: c.open, refused: c.refused,
		batch: 1, kind: e.Kind, target: e.Target, plan: e.Plan, going: true, began: e.At,
		given: map[string][]Target{}, member: map[string]int{},
	}
}
