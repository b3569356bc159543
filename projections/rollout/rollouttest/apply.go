package rollouttest

import (
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// Apply folds one event.
func (s *State) Apply(e Event) {
	s.Sequence, s.At = e.Sequence, max(s.At, e.At)
	switch {
	case e.Type == LogRestored:
		s.Restored = e.Sequence
	case e.Type == eventlog.BudgetApplied:
		s.Budgets[e.Budget] = e.Limit
	case e.Type == eventlog.BudgetDeleted:
		delete(s.Budgets, e.Budget)
	case e.Device != "":
		s.applyDevice(e)
	case e.Deployment != "":
		s.applyDeployment(e)
	}
}

func (s *State) applyDevice(e Event) {
	dev := s.Devices[e.Device]
	if dev == nil {
		dev = &Device{ID: e.Device, Pairs: map[string]*Pair{}, orders: map[string]uint64{}}
		s.Devices[e.Device] = dev
		for key := range s.Deployments {
			dev.orders[key] = Order(key, dev.ID)
		}
	}
	_, name, _ := strings.Cut(e.Deployment, "/")
	p := dev.Pairs[name]
	switch e.Type {
	case eventlog.DeviceRelabeled:
		dev.Labels, dev.Known = e.Labels, e.Labels
	case DeviceGone:
		dev.Labels = nil
	case eventlog.DeviceOnline, eventlog.DeviceOffline:
		dev.Online = e.Type == eventlog.DeviceOnline
		for _, p := range dev.Pairs {
			p.Lost = !dev.Online && p.Upset && !p.Healthy()
			if !dev.Online {
				continue
			}
			p.Off = false
			if p.Healthy() {
				p.Since, p.Back = s.At, true // what nobody heard does not count
			}
		}
	case eventlog.DesiredAssigned:
		if p == nil {
			p = &Pair{}
			dev.Pairs[name] = p
		}
		if p.Deployment == "" || !p.Target.Same(e.Target) || p.Target.Value != e.Target.Value {
			p.Upset = p.Deployment != "" && dev.Online
			p.Changed, p.At, p.Since, p.Back, p.Lost, p.Off, p.Counted = e.Sequence, s.At, s.At, false, false, false, false
			if d := s.Deployments[e.Deployment]; d.rated() {
				d.Run.Next = max(d.Run.Next, s.At*1000) + d.Spec.Rate.interval(d.Run.Succeeded)
			}
		} else if p.Older && p.confirmed() && p.Target != e.Target && p.Phase != eventlog.PhasePending {
			p.Since, p.Back = s.At, false // an older agent has to say the new number, too
		}
		p.Deployment, p.Leaving, p.Target, p.Batch = e.Deployment, "", e.Target, e.Batch
		p.Run = 0
		if e.Batch > 0 {
			p.Run = s.Deployments[e.Deployment].Run.ID
		}
	case eventlog.DesiredWithdrawn:
		if p.Phase == "" {
			delete(dev.Pairs, name)
			return
		}
		*p = Pair{Phase: p.Phase, Told: p.Told, Older: p.Older, Spoke: p.Spoke, ToldAt: p.ToldAt}
		if e.Reason != "Deleted" {
			p.Leaving = e.Deployment
		}
	case eventlog.StateReported:
		if p == nil {
			return // of what was withdrawn and cleared
		}
		healthy, failed := p.Healthy(), p.Failed()
		p.Told, p.Phase, p.Older, p.Spoke, p.ToldAt = e.Assignment, e.Phase, e.Older, e.Target, e.Sequence
		if healthy != p.Healthy() || failed != p.Failed() {
			p.Since, p.Back = s.At, false
		}
		if p.Healthy() {
			p.Lost, p.Off = false, false
			if d := s.Deployments[p.Deployment]; !p.Counted && d.Run.ID > 0 && p.Changed > d.Run.ID {
				p.Counted = true
				d.Run.Succeeded++
			}
		}
	case eventlog.StateCleared:
		switch {
		case p == nil:
		case p.Deployment == "":
			delete(dev.Pairs, name)
		default:
			if p.Healthy() || p.Failed() {
				p.Since, p.Back = s.At, false
			}
			p.Phase, p.Told = "", 0
		}
	}
}

func (s *State) applyDeployment(e Event) {
	d := s.Deployments[e.Deployment]
	if d == nil {
		_, name, _ := strings.Cut(e.Deployment, "/")
		d = &Deployment{Key: e.Deployment, Name: name}
		s.Deployments[e.Deployment] = d
		for _, dev := range s.Devices {
			dev.orders[d.Key] = Order(d.Key, dev.ID)
		}
	}
	switch e.Type {
	case eventlog.DeploymentApplied:
		if d.Refused != e.Spec.Content {
			d.Refused = ""
		}
		if d.Spec.Revision != e.Spec.Revision {
			d.Contents = append(d.Contents, Target{Revision: e.Spec.Revision, Content: e.Spec.Content})
			d.Contents = d.Contents[max(0, len(d.Contents)-kept):]
		}
		if d.Spec.Paused && !e.Spec.Paused && d.Run.Phase == Progressing {
			s.renew(d)
		}
		if d.Spec.Rate != e.Spec.Rate {
			d.Run.Next = 0
		}
		d.Spec, d.Applied, d.Lifecycle = e.Spec, e.Sequence, e.Type
	case Annotated:
		d.Annotated = e.Annotation
	case eventlog.DeploymentOrphaned:
		d.Lifecycle = e.Type
	case eventlog.DeploymentAdopted:
		d.Lifecycle = eventlog.DeploymentApplied
	case eventlog.DeploymentDeleted:
		*d = Deployment{Key: d.Key, Name: d.Name, Lifecycle: e.Type, Applied: d.Applied, Spec: d.Spec, Contents: d.Contents, Annotated: d.Annotated}
	case eventlog.RequestMade:
		if q := e.Request; len(d.Requests) < maxRequests && d.Lifecycle != "" && d.Lifecycle != eventlog.DeploymentDeleted {
			q.Sequence = e.Sequence
			d.Requests = append(d.Requests, q)
		}
	default:
		s.applyRollout(d, e)
	}
}

func (s *State) applyRollout(d *Deployment, e Event) {
	if e.Type != eventlog.RolloutRequestRefused && e.Type != eventlog.RolloutGateMeasured {
		d.Decided = e.Sequence
	}
	d.Requests = slices.DeleteFunc(d.Requests, func(q Request) bool { return q.Sequence == e.Answers })
	r := &d.Run
	switch e.Type {
	case eventlog.RolloutStarted:
		s.start(d, e)
	case eventlog.RolloutBatchStarted:
		r.Batch, r.BatchAt, r.Passed, r.Failed, r.Approved, r.Stalled, r.Answered = e.Batch, s.At, false, false, false, false, nil
	case eventlog.RolloutGateMeasured:
		r.measure(e.Gate, e.Verdict, s.At)
	case eventlog.RolloutStalled:
		r.Stalled = true
	case eventlog.RolloutBatchSucceeded:
		r.Passed = true
		s.writeOff(d)
	case eventlog.RolloutBatchFailed:
		r.Failed = true
		s.writeOff(d)
	case eventlog.RolloutPromoted:
		r.Passed, r.Failed, r.Approved, r.Resumed, r.Free = true, false, true, true, r.Free || e.Full
		r.Phase, r.Reason = Progressing, e.Reason
	case eventlog.RolloutPaused:
		if e.Answers > 0 {
			d.Hold = true
			return
		}
		r.Phase, r.Reason, r.Failed = Paused, e.Reason, false
	case eventlog.RolloutResumed:
		d.Hold = false
		switch r.Phase {
		case Paused:
			s.resume(d)
		case Progressing:
			s.renew(d)
		}
	case eventlog.RolloutAborted:
		r.Phase = Aborted
		if r.Kind != eventlog.RunRestart { // a restart's content is the one that is out
			d.Refused = d.Spec.Content
		}
	case eventlog.RolloutRolledBack:
		r.Phase = RolledBack
	case eventlog.RolloutCompleted:
		r.Phase, r.Reason = Completed, e.Reason
		if !r.unproven() {
			d.stabilize(r.Target)
		}
	case eventlog.RolloutSuperseded:
		r.Phase = Superseded
	}
}

// measure notes an answer about a gate.
func (r *Run) measure(g Gate, verdict string, at int64) {
	a := r.gate(g)
	if a == nil {
		a = &Answered{Gate: g}
		if r.Answered == nil {
			r.Answered = map[string]*Answered{}
		}
		r.Answered[g.Name] = a
	}
	if a.Answers == 0 || a.passes() != (verdict == eventlog.GatePass) || a.stale(at) {
		a.Since = at
	}
	a.Answers++
	a.Verdict, a.Last = verdict, at
}

func (d *Deployment) stabilize(t Target) {
	if d.Stable.Content != "" && d.Stable.Content != t.Content {
		d.Before = d.Stable
	}
	d.Stable = t
}

// start begins a run. What already has the target's hash is a member at once, with a
// deadline that begins now; how long it is healthy is not forgotten. What an Immediate
// run gave to all that have the Deployment was out, completed or not: it is stable.
func (s *State) start(d *Deployment, e Event) {
	if old := &d.Run; old.Kind == eventlog.RunImmediate && old.Phase != Completed && s.givenToAll(d) {
		d.stabilize(old.Target)
	}
	switch e.Kind {
	case eventlog.RunRollback:
		d.Refused = d.Spec.Content
		d.Stable = e.Target // what it goes away from is trusted no more
	case eventlog.RunUpdate, eventlog.RunImmediate:
		d.Refused = ""
	}
	d.Run = Run{ID: e.Sequence, Kind: e.Kind, Target: e.Target, Plan: e.Plan, Shape: e.Shape, Batch: 1, BatchAt: s.At, Phase: Progressing, Reason: e.Reason}
	for _, dev := range s.Devices {
		if p := d.held(dev); p != nil && p.Target.Same(e.Target) {
			p.At = s.At
		}
	}
}

// resume lets a paused run go on: its devices get another deadline.
func (s *State) resume(d *Deployment) {
	r := &d.Run
	r.Phase, r.Reason, r.Failed, r.Resumed = Progressing, "Requested", false, true
	s.renew(d)
}

// renew gives the devices of a run another deadline.
func (s *State) renew(d *Deployment) {
	r := &d.Run
	r.BatchAt, r.Stalled, r.Answered = s.At, false, nil
	for _, dev := range s.Devices {
		if p := d.held(dev); p != nil && p.Target.Same(r.Target) {
			p.At = s.At
			if !p.Healthy() {
				p.Since = s.At
			}
		}
	}
}

// writeOff notes that what is lost when its batch was judged is no longer ours.
func (s *State) writeOff(d *Deployment) {
	for _, dev := range s.Devices {
		if p := d.held(dev); p != nil && p.Lost && p.Target.Same(d.Run.Target) {
			p.Off = true
		}
	}
}

func (s *State) givenToAll(d *Deployment) bool {
	all := false
	for _, dev := range s.Devices {
		if p := d.held(dev); p != nil {
			if !p.Target.Same(d.Run.Target) {
				return false
			}
			all = true
		}
	}
	return all
}
