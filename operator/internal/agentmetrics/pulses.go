// Package agentmetrics tells Prometheus of all agents together, without a scrape of any: what
// their pulses say, and what their journals have in the log. No label is a device.
package agentmetrics

import (
	"container/list"
	"sync"
	"time"

	"fleet.nationtech.io/eventlog"
)

const (
	// mostAPulse bounds what one pulse adds to a counter, so that a device that lies moves a
	// fleet's figure by little.
	mostAPulse = 1000
	// wrongClock is from where on a device's clock is off.
	wrongClock = 5 * time.Second
)

// Pulses keeps what the last pulse of each device said, and adds up what agents count. Its sums
// change with each pulse, so that a scrape looks at no agent that is still heard.
//
// A counter of the fleet grows by what an agent's grew between two pulses of one run that this
// replica heard. The first pulse of a run adds nothing, so that neither the restart of an agent
// nor that of the operator makes a rate jump.
type Pulses struct {
	lately time.Duration // after that time without a pulse an agent's state is not known

	mu     sync.Mutex
	agents map[string]*agent
	recent *list.List // the agents that were heard lately; the one that is silent for longest is in front
	sums   share      // of the agents in recent
	ahead  time.Duration
	totals map[eventlog.Trouble]float64
	looks  looks
}

// agent is what its last pulse said.
type agent struct {
	figures eventlog.AgentFigures // Run is 0 of an agent that sends none
	heard   time.Time
	ahead   time.Duration // its clock, of this machine's
	share   share         // what the sums have of it
	place   *list.Element // in recent; nil: it was not heard lately
}

// looks is how long agents took to list their containers, in all pulses together.
type looks struct {
	seconds float64
	pulses  uint64
}

// NewPulses makes an empty Pulses of agents that count as away after some time of silence.
func NewPulses(lately time.Duration) *Pulses {
	return &Pulses{lately: lately, agents: map[string]*agent{}, recent: list.New(), totals: map[eventlog.Trouble]float64{}}
}

// Heard takes the pulse of a device that the log knows. What cannot be read says that the device
// lives, and no more. The moments of calls must not decrease, as those of time.Now do not.
func (p *Pulses) Heard(device string, data []byte, now time.Time) {
	h, err := eventlog.ParseHeartbeat(device, data)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.agents[device]
	if a == nil {
		a = &agent{}
		p.agents[device] = a
	}
	before := a.figures
	a.heard, a.ahead, a.figures = now, h.At.Sub(now), eventlog.AgentFigures{}
	if h.Agent != nil {
		a.figures = *h.Agent
	}
	p.count(a)
	if h.Agent == nil {
		return
	}
	if h.Agent.Observe > 0 {
		p.looks.pulses++
		p.looks.seconds += float64(h.Agent.Observe) / 1000
	}
	if before.Run == 0 || before.Run != h.Agent.Run {
		return
	}
	for _, t := range eventlog.Troubles() {
		p.totals[t] += grown(t.Of(&before), t.Of(h.Agent))
	}
}

// grown is by how much a counter grew. One that fell was not counted by the agent of this run.
func grown(before, after uint64) float64 {
	if after <= before {
		return 0
	}
	return float64(min(after-before, mostAPulse))
}

// Forget forgets a device that left the fleet.
func (p *Pulses) Forget(device string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.agents[device]; a != nil {
		p.leave(a)
		delete(p.agents, device)
	}
}

// count brings the sums to what an agent's last pulse says.
func (p *Pulses) count(a *agent) {
	if a.place == nil {
		a.place = p.recent.PushBack(a)
	} else {
		p.recent.MoveToBack(a.place)
	}
	p.judge(a)
}

// judge brings the sums to what an agent adds to them now.
func (p *Pulses) judge(a *agent) {
	p.sums.take(a.share)
	a.share = shareOf(&a.figures, a.ahead-p.ahead)
	p.sums.add(a.share)
}

// leave takes an agent out of the sums.
func (p *Pulses) leave(a *agent) {
	if a.place == nil {
		return
	}
	p.recent.Remove(a.place)
	p.sums.take(a.share)
	a.share, a.place = share{}, nil
}

// Summary is what the pulses of all agents say together.
type Summary struct {
	Heard       int // agents that were heard lately and send figures
	Silent      int // agents that were heard lately and send none, as they are older
	EnginesDown int
	ClocksOff   int
	Waiting     uint64 // events of journals that wait for the log
	Troubles    map[eventlog.Trouble]float64
	Looks       uint64 // pulses with a time of looks
	LookSeconds float64
}

// clockMoved is by how much the servers' clock must move against this machine's before the
// agents' clocks are judged again by it: an answer that takes long moves it by less.
const clockMoved = time.Second

// Summary is of the agents that were heard lately. ahead is how far the servers' clock is ahead of
// this machine's. Each agent that has become silent costs a step once, and all agents cost one
// where a clock was set.
func (p *Pulses) Summary(now time.Time, ahead time.Duration) Summary {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.recent.Front(); e != nil; e = p.recent.Front() {
		a := e.Value.(*agent)
		if now.Sub(a.heard) <= p.lately {
			break
		}
		p.leave(a)
	}
	if (ahead - p.ahead).Abs() > clockMoved {
		p.ahead = ahead
		for e := p.recent.Front(); e != nil; e = e.Next() {
			p.judge(e.Value.(*agent))
		}
	}
	s := Summary{
		Heard: p.sums.heard, Silent: p.sums.silent, EnginesDown: p.sums.enginesDown, ClocksOff: p.sums.clocksOff, Waiting: p.sums.waiting,
		Troubles: make(map[eventlog.Trouble]float64, len(eventlog.Troubles())), Looks: p.looks.pulses, LookSeconds: p.looks.seconds,
	}
	for _, t := range eventlog.Troubles() {
		s.Troubles[t] = p.totals[t]
	}
	return s
}
