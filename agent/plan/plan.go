// Package plan decides what a device's agent does next. It is pure: what is
// desired, what was observed, what is remembered and the time go in; steps,
// reports and the time to look again come out. Anyone who performs the steps tells
// the Memory how they went, observes again, and asks again: at any moment all may
// be forgotten but the desired set, and the next plan still leads there.
package plan

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
)

// Input is all that a plan depends on.
type Input struct {
	// Device is this device's id. Containers of others are not looked at.
	Device   string
	Desired  []Desired
	Observed []engine.Container
	Memory   Memory
	Kept     Keeps
	Now      time.Time
}

// Output is what to do and what to say.
type Output struct {
	// Memory is what to pass to the next plan, after the steps' results were told.
	Memory Memory
	// Kept is the same, and is to be remembered over restarts.
	Kept Keeps
	// Chains are independent of each other. Each is worked off in order, and ends
	// at its first step that fails.
	Chains []Chain
	// Pulls are of the images that updates wait for. Each goes on beside the chains
	// and checks of its service, which is kept in its present revision meanwhile.
	Pulls []Step
	// Checks are the health checks that are due.
	Checks []Check
	// States are the reports, one for each Deployment that is assigned or still
	// has containers, ordered by name. LastEventAt is left to the code that sends them.
	States []eventlog.DeploymentState
	// Gone are the withdrawn Deployments that have no container left.
	Gone []string
	// Wake is when to plan again although nothing was observed; zero is never.
	Wake time.Time
}

// Why names what a chain is for, the same in the journal, the log and the test.
type Why string

// The causes of a chain. Those of drift, things that happened to a container
// without the score having changed, are told by Drift.
const (
	WhyAssigned  Why = "Assigned"  // the service has never had a container here
	WhyChanged   Why = "Changed"   // its part of the score is another
	WhyDropped   Why = "Dropped"   // the score no longer has the service
	WhyWithdrawn Why = "Withdrawn" // the Deployment was withdrawn from the device
	WhyUnstarted Why = "Unstarted" // its container was made and not started
	WhyExited    Why = "Exited"    // its container ended, and is to be started again
	WhyMissing   Why = "Missing"   // it had a container, and somebody else removed it
	WhyPaused    Why = "Paused"    // its container was paused by someone else
	WhyStuck     Why = "Stuck"     // its container neither runs nor ends
	WhyDuplicate Why = "Duplicate" // the service has more than one container
)

// Drift says whether the cause came from outside: neither the log nor a first
// start asked for it.
func (w Why) Drift() bool {
	switch w {
	case WhyExited, WhyMissing, WhyPaused, WhyStuck, WhyDuplicate:
		return true
	}
	return false
}

// Chain is what to do for one service.
type Chain struct {
	Key
	Why   Why
	Steps []Step
}

// Verb is what a step does.
type Verb string

// The verbs, each a method of engine.Engine.
const (
	VerbPull   Verb = "pull"
	VerbCreate Verb = "create"
	VerbStart  Verb = "start"
	VerbStop   Verb = "stop"
	VerbRemove Verb = "remove"
)

// Step is one thing to do to one container.
type Step struct {
	Key
	Verb Verb
	// Container is the id to start, stop or remove. A start without one is of the
	// container that the create before it in the chain made.
	Container string
	// Spec is what to pull for and to create from.
	Spec *engine.Spec
}

// Check is a health check that is due on a container.
type Check struct {
	Key
	Container string
	StartedAt time.Time // tells the run that the result is of
	Check     score.HealthCheck
}

// Plan decides. It changes none of its input.
func Plan(in Input) Output {
	p := &planner{in: in, memory: in.Memory.clone(), kept: maps.Clone(in.Kept), wanted: map[Key]bool{}}
	if p.kept == nil {
		p.kept = Keeps{}
	}
	p.group()
	for _, d := range p.desired {
		if d.Withdrawn {
			p.withdraw(d)
			continue
		}
		p.assign(d)
	}
	p.showUnknown()
	slices.SortFunc(p.out.States, func(a, b eventlog.DeploymentState) int { return cmp.Compare(a.Deployment, b.Deployment) })
	p.forget()
	p.out.Memory, p.out.Kept = p.memory, p.kept
	return p.out
}

type planner struct {
	in      Input
	memory  Memory
	kept    Keeps
	wanted  map[Key]bool // services that a Deployment has, or keeps
	desired []Desired    // ordered, those to be withdrawn first: they free ports
	found   map[Key][]engine.Container
	out     Output
}

// group sorts the device's own containers by service, the best one first.
func (p *planner) group() {
	p.desired = slices.SortedFunc(slices.Values(p.in.Desired), func(a, b Desired) int {
		if a.Withdrawn != b.Withdrawn {
			if a.Withdrawn {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Deployment, b.Deployment)
	})
	hashes := map[Key]string{}
	for _, d := range p.desired {
		for _, s := range d.Score.Services {
			hashes[Key{d.Deployment, s.Name}] = s.Hash
		}
	}
	p.found = map[Key][]engine.Container{}
	for _, c := range p.in.Observed {
		if c.Device != p.in.Device || c.Foreign != "" || !named(c) {
			continue
		}
		key := Key{c.Deployment, c.Service}
		p.found[key] = append(p.found[key], c)
	}
	for key, cs := range p.found {
		slices.SortFunc(cs, func(a, b engine.Container) int {
			return cmp.Or(
				-compareBool(a.Hash == hashes[key], b.Hash == hashes[key]),
				-compareBool(a.State == engine.StateRunning, b.State == engine.StateRunning),
				a.CreatedAt.Compare(b.CreatedAt),
				cmp.Compare(a.ID, b.ID),
			)
		})
	}
}

// named says whether a container has the names that an agent gives. One that a
// person made with a label of ours and without the others is nobody's: there is
// no subject to report it on.
func named(c engine.Container) bool {
	return eventlog.CheckName("deployment", c.Deployment) == nil && eventlog.CheckName("service", c.Service) == nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// wake asks to be called again at t, unless something comes earlier.
func (p *planner) wake(t time.Time) {
	if p.out.Wake.IsZero() || t.Before(p.out.Wake) {
		p.out.Wake = t
	}
}

// keysOf gives the keys of a Deployment's containers, ordered.
func (p *planner) keysOf(deployment string) []Key {
	var keys []Key
	for key := range p.found {
		if key.Deployment == deployment {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.Service, b.Service) })
	return keys
}
