package plan

import (
	"time"

	"fleet.nationtech.io/agent/engine"
)

// firstChecks is the longest time between two checks in the start period, as a
// service that is up early is known to be, and after one that could not be made.
const firstChecks = time.Second

// assign plans for a Deployment that the device should run.
func (p *planner) assign(d Desired) {
	if d.Refusal != nil {
		p.reportRefusal(d)
		return
	}
	var statuses []Status
	wanted := map[Key]bool{}
	for _, s := range d.Score.Services {
		key := Key{d.Deployment, s.Name}
		wanted[key] = true
		status := Status{Service: s, Record: p.memory[key], Now: p.in.Now}
		cs := p.found[key]
		if len(cs) > 0 {
			status.Container = &cs[0]
		}
		p.keep(d, key, status, cs)
		status.Record = p.memory[key]
		p.check(key, status)
		statuses = append(statuses, status)
	}
	var left []Key
	for _, key := range p.keysOf(d.Deployment) {
		if !wanted[key] {
			p.remove(key, WhyDropped)
			left = append(left, key)
		}
	}
	p.report(d, statuses, left)
}

// withdraw plans for a Deployment that the log took off the device.
func (p *planner) withdraw(d Desired) {
	keys := p.keysOf(d.Deployment)
	if len(keys) == 0 {
		p.out.Gone = append(p.out.Gone, d.Deployment)
		return
	}
	for _, key := range keys {
		p.remove(key, WhyWithdrawn)
	}
	p.reportRemoval(d, keys)
}

// keep plans what brings one service to what its score says.
func (p *planner) keep(d Desired, key Key, s Status, cs []engine.Container) {
	chain := Chain{Key: key}
	if len(cs) > 1 {
		chain.Why = WhyDuplicate
		for _, c := range cs[1:] {
			chain.Steps = append(chain.Steps, Step{Key: key, Verb: VerbRemove, Container: c.ID})
		}
	}
	why, steps := p.steps(d, key, s)
	if len(steps) > 0 {
		chain.Why = why
		chain.Steps = append(chain.Steps, steps...)
	}
	switch {
	case len(chain.Steps) == 0:
		// What had failed has come about without us, or isn't wanted any more.
		r := s.Record
		r.Failures, r.Failure = 0, nil
		p.memory[key] = r
	case !p.backsOff(s.Record):
		p.out.Chains = append(p.out.Chains, chain)
	}
}

// steps gives the steps from the best container of a service to what the score
// wants, none where there is nothing to do now.
func (p *planner) steps(d Desired, key Key, s Status) (Why, []Step) {
	spec := &engine.Spec{
		Identity: engine.Identity{Device: p.in.Device, Deployment: key.Deployment, Service: key.Service},
		Revision: d.Revision, Service: s.Service,
	}
	pull := Step{Key: key, Verb: VerbPull, Spec: spec}
	create := Step{Key: key, Verb: VerbCreate, Spec: spec}
	start := Step{Key: key, Verb: VerbStart}
	c := s.Container
	if c == nil {
		why := WhyAssigned
		if s.Record.Lost {
			why = WhyMissing
		}
		return why, []Step{pull, create, start}
	}
	remove := Step{Key: key, Verb: VerbRemove, Container: c.ID}
	if !s.Current() {
		// The image comes first, so that what runs goes on until it can be replaced.
		steps := []Step{pull}
		if c.State == engine.StateRunning {
			steps = append(steps, Step{Key: key, Verb: VerbStop, Container: c.ID})
		}
		return WhyChanged, append(steps, remove, create, start)
	}
	start.Container = c.ID
	switch c.State {
	case engine.StateRunning:
		return "", nil
	case engine.StateCreated, engine.StateConfigured, engine.StateInitialized:
		if s.lostPort() {
			start.Container = ""
			return WhyUnstarted, []Step{pull, remove, create, start}
		}
		return WhyUnstarted, []Step{start}
	case engine.StatePaused:
		return WhyPaused, []Step{start}
	case engine.StateExited, engine.StateStopped:
		if !Restarts(s.Service.RestartPolicy, c.ExitCode) {
			return "", nil
		}
		if !due(s.Record.RestartAt, p.in.Now) {
			p.wake(s.Record.RestartAt)
			return "", nil
		}
		if s.lostPort() {
			start.Container = ""
			return WhyExited, []Step{pull, remove, create, start}
		}
		return WhyExited, []Step{start}
	case engine.StateStopping, engine.StateRemoving:
		if p.mayPass(s.Record) {
			return "", nil
		}
		start.Container = ""
		return WhyStuck, []Step{pull, remove, create, start}
	default:
		// The engine can't say. A start does no harm to what runs already.
		if p.mayPass(s.Record) {
			return "", nil
		}
		return WhyStuck, []Step{start}
	}
}

// backsOff says whether the last step failed and it is too early for another try.
func (p *planner) backsOff(r Record) bool {
	f := r.Failure
	if f == nil {
		return false
	}
	if !due(f.RetryAt, p.in.Now) {
		p.wake(f.RetryAt)
		return true
	}
	return false
}

// mayPass says whether an odd state still may pass by itself.
func (p *planner) mayPass(r Record) bool {
	if r.Odd == nil {
		return true
	}
	until := r.Odd.Since.Add(oddGrace)
	if due(until, p.in.Now) {
		return false
	}
	p.wake(until)
	return true
}

// remove plans the end of every container of a service.
func (p *planner) remove(key Key, why Why) {
	r := p.memory[key]
	if r.Hash != "" {
		r = Record{} // it was wanted until now: old failures mean nothing for its removal
	}
	defer func() { p.memory[key] = r }()
	if p.backsOff(r) {
		return
	}
	chain := Chain{Key: key, Why: why}
	for _, c := range p.found[key] {
		if c.State == engine.StateRemoving {
			if r.Odd == nil {
				r.Odd = &Odd{State: c.State, Since: p.in.Now}
			}
			if p.mayPass(r) {
				continue
			}
		}
		if c.State == engine.StateRunning {
			chain.Steps = append(chain.Steps, Step{Key: key, Verb: VerbStop, Container: c.ID})
		}
		chain.Steps = append(chain.Steps, Step{Key: key, Verb: VerbRemove, Container: c.ID})
	}
	if len(chain.Steps) > 0 {
		p.out.Chains = append(p.out.Chains, chain)
	}
}

// check plans a service's health check and the waits of its health.
func (p *planner) check(key Key, s Status) {
	if !s.Current() || s.Container.State != engine.StateRunning {
		return
	}
	if !s.Settled() {
		p.wake(s.Container.StartedAt.Add(SettleRun))
	}
	hc := s.Service.HealthCheck
	if hc == nil {
		return
	}
	var next time.Time
	if h := s.Record.Health; h.of(*s.Container) {
		next = h.next(*hc, s.Container.StartedAt, p.in.Now)
	}
	if !due(next, p.in.Now) {
		p.wake(next)
		return
	}
	p.out.Checks = append(p.out.Checks, Check{Key: key, Container: s.Container.ID, StartedAt: s.Container.StartedAt, Check: *hc})
}

// forget drops what is remembered of services that are neither wanted nor there.
func (p *planner) forget() {
	wanted := map[Key]bool{}
	for _, d := range p.desired {
		for _, s := range d.Score.Services {
			wanted[Key{d.Deployment, s.Name}] = true
		}
	}
	for key := range p.memory {
		if !wanted[key] && len(p.found[key]) == 0 {
			delete(p.memory, key)
		}
	}
}
