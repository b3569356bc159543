package plan

import (
	"maps"
	"time"

	"fleet.nationtech.io/agent/engine"
)

// firstChecks is the longest time between two checks in the start period, as a
// service that is up early is known to be, and after one that could not be made.
const firstChecks = time.Second

// assign plans for a Deployment that the device should run.
func (p *planner) assign(d Desired) {
	if d.Refusal != nil {
		p.refuse(d)
		return
	}
	var statuses []Status
	for _, s := range d.Score.Services {
		key := Key{d.Deployment, s.Name}
		c := p.best(key)
		k, waits := p.target(d, key, s, c)
		statuses = append(statuses, p.bring(d.Deployment, k, s.Hash, c))
		if waits {
			p.update(d, key, s)
		}
	}
	var left []Key
	for _, key := range p.keysOf(d.Deployment) {
		if !p.wanted[key] {
			p.remove(key, WhyDropped)
			left = append(left, key)
		}
	}
	p.report(d, statuses, left)
}

// refuse plans for a Deployment whose score can't be acted upon: its services are
// kept in the revision that they have.
func (p *planner) refuse(d Desired) {
	var statuses []Status
	for _, key := range p.keptOf(d.Deployment) {
		k, c := p.kept[key], p.best(key)
		if c != nil && c.Hash != k.Service.Hash {
			continue
		}
		statuses = append(statuses, p.bring(d.Deployment, k, "", c))
	}
	p.reportRefusal(d, statuses)
}

// best is the container of a service that all else goes by, nil where there is none.
func (p *planner) best(key Key) *engine.Container {
	if cs := p.found[key]; len(cs) > 0 {
		return &cs[0]
	}
	return nil
}

// bring plans what brings one service to what k says, and its checks. wanted is
// the hash of what the score says; where that is another, an update waits.
func (p *planner) bring(deployment string, k Kept, wanted string, c *engine.Container) Status {
	key := Key{deployment, k.Service.Name}
	p.wanted[key] = true
	p.learn(key, k, c)
	if learned, known := p.kept[key]; known && learned.Service.Hash == k.Service.Hash {
		k.Ended = learned.Ended
	}
	p.remember(key, k.Service, wanted, c)
	status := Status{
		Service: k.Service, Container: c, Record: p.memory[key], Now: p.in.Now,
		Revision: k.Revision, Waits: k.Service.Hash != wanted, Ended: k.Ended,
	}
	p.keep(key, status, p.found[key])
	status.Record = p.memory[key]
	p.check(key, status)
	return status
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
func (p *planner) keep(key Key, s Status, cs []engine.Container) {
	chain := Chain{Key: key}
	if len(cs) > 1 {
		chain.Why = WhyDuplicate
		for _, c := range cs[1:] {
			chain.Steps = append(chain.Steps, Step{Key: key, Verb: VerbRemove, Container: c.ID})
		}
	}
	why, steps := p.steps(key, s)
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
	case !p.backsOff(s.Record.Failure):
		p.out.Chains = append(p.out.Chains, chain)
	}
}

// steps gives the steps from the best container of a service to what it is to be
// now, none where there is nothing to do, or nothing can be done.
func (p *planner) steps(key Key, s Status) (Why, []Step) {
	spec := &engine.Spec{
		Identity: engine.Identity{Device: p.in.Device, Deployment: key.Deployment, Service: key.Service},
		Revision: s.Revision, Service: s.Service,
	}
	create := []Step{{Key: key, Verb: VerbPull, Spec: spec}, {Key: key, Verb: VerbCreate, Spec: spec}, {Key: key, Verb: VerbStart}}
	if next := s.Record.Next; s.Waits || next != nil && next.Pulled {
		create = create[1:] // an earlier image is here or can't be had; a later one was pulled
	}
	start := Step{Key: key, Verb: VerbStart}
	c := s.Container
	if c == nil {
		if s.Over() {
			return "", nil
		}
		_, had := p.kept[key]
		if had || s.Record.Lost {
			return WhyMissing, create
		}
		return WhyAssigned, create
	}
	remove := Step{Key: key, Verb: VerbRemove, Container: c.ID}
	if !s.Current() {
		// The image is here: what runs went on until it could be replaced.
		steps := []Step{remove}
		if c.State == engine.StateRunning {
			steps = []Step{{Key: key, Verb: VerbStop, Container: c.ID}, remove}
		}
		return WhyChanged, append(steps, create...)
	}
	start.Container = c.ID
	switch c.State {
	case engine.StateRunning:
		return "", nil
	case engine.StateCreated, engine.StateConfigured, engine.StateInitialized:
		if s.lostPort() {
			return WhyUnstarted, p.another(remove, create)
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
			return WhyExited, p.another(remove, create)
		}
		return WhyExited, []Step{start}
	case engine.StateStopping, engine.StateRemoving:
		if p.mayPass(s.Record) || s.Service.Image == "" {
			return "", nil
		}
		return WhyStuck, p.another(remove, create)
	default:
		// The engine can't say. A start does no harm to what runs already.
		if p.mayPass(s.Record) {
			return "", nil
		}
		return WhyStuck, []Step{start}
	}
}

// another replaces a container by one of the same service: the image comes first,
// where it is pulled at all.
func (p *planner) another(remove Step, create []Step) []Step {
	if create[0].Verb == VerbPull {
		return append([]Step{create[0], remove}, create[1:]...)
	}
	return append([]Step{remove}, create...)
}

// backsOff says whether the last step failed and it is too early for another try.
func (p *planner) backsOff(f *Failure) bool {
	if f == nil || due(f.RetryAt, p.in.Now) {
		return false
	}
	p.wake(f.RetryAt)
	return true
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
	delete(p.kept, key) // not wanted any more: it is not to be made again
	r := p.memory[key]
	if r.Hash != "" {
		r = Record{} // it was wanted until now: old failures mean nothing for its removal
	}
	defer func() { p.memory[key] = r }()
	if p.backsOff(r.Failure) {
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
// How a service is kept is dropped only where the log says of its Deployment that
// it does not have it: absence says nothing.
func (p *planner) forget() {
	known := map[string]bool{}
	for _, d := range p.desired {
		known[d.Deployment] = true
	}
	gone := func(key Key) bool { return !p.wanted[key] && len(p.found[key]) == 0 }
	maps.DeleteFunc(p.memory, func(key Key, _ Record) bool { return gone(key) })
	maps.DeleteFunc(p.kept, func(key Key, _ Kept) bool { return gone(key) && known[key.Deployment] })
}
