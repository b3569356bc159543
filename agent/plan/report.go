package plan

import (
	"fmt"
	"slices"
	"strings"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/eventlog"
)

// Phase is a Deployment's phase on this device, with its reason and message:
// Failed if a service failed, Running if every service is running, else Pending.
func Phase(services []Status) (phase eventlog.Phase, reason, message string) {
	for _, s := range services {
		if reason, message, failed := s.Failed(); failed {
			return eventlog.PhaseFailed, reason, fmt.Sprintf("service %q: %s", s.Service.Name, message)
		}
	}
	for _, s := range services {
		if !s.Running() {
			return eventlog.PhasePending, s.Pending(), ""
		}
	}
	return eventlog.PhaseRunning, "", ""
}

func (p *planner) report(d Desired, services []Status, left []Key) {
	state := p.state(d)
	var message string
	state.Phase, state.Reason, message = Phase(services)
	for _, s := range services {
		state.Services = append(state.Services, s.reported())
	}
	if state.Phase != eventlog.PhaseFailed && len(left) > 0 {
		state.Phase, state.Reason, message = p.removal(left)
	}
	p.say(state, message)
}

// reported is what a report says of one service: what is on the device.
func (s Status) reported() eventlog.ServiceState {
	r := describe(s.Service.Name, s.Container)
	r.Health, r.Restarts = s.Health(), s.Record.Restarts
	if s.Waits && s.Container != nil {
		r.Revision = s.Revision
	}
	return r
}

// reportRefusal reports a score that can't be acted upon, and what runs still.
func (p *planner) reportRefusal(d Desired, services []Status) {
	state := p.state(d)
	state.Phase, state.Reason = eventlog.PhaseFailed, d.Refusal.Reason
	kept := map[string]bool{}
	for _, s := range services {
		kept[s.Service.Name] = true
		state.Services = append(state.Services, s.reported())
	}
	p.describeAll(&state, slices.DeleteFunc(p.keysOf(d.Deployment), func(key Key) bool { return kept[key.Service] }))
	p.say(state, d.Refusal.Message)
}

func (p *planner) reportRemoval(d Desired, left []Key) {
	state := p.state(d)
	var message string
	state.Phase, state.Reason, message = p.removal(left)
	p.describeAll(&state, left)
	p.say(state, message)
}

// removal is the phase of what waits for containers to go.
func (p *planner) removal(left []Key) (eventlog.Phase, string, string) {
	for _, key := range left {
		if f := p.memory[key].Failure; f != nil {
			return eventlog.PhaseFailed, f.Reason, fmt.Sprintf("service %q, no longer wanted: %s: %s", key.Service, f.Verb, f.Message)
		}
	}
	return eventlog.PhasePending, ReasonRemoving, ""
}

// showUnknown reports Deployments that have containers here and of which the log
// says nothing. Nothing is done to them.
func (p *planner) showUnknown() {
	known := map[string]bool{}
	for _, d := range p.desired {
		known[d.Deployment] = true
	}
	var unknown []string
	for key := range p.found {
		if !known[key.Deployment] {
			known[key.Deployment] = true
			unknown = append(unknown, key.Deployment)
		}
	}
	slices.Sort(unknown)
	for _, deployment := range unknown {
		state := p.state(Desired{Deployment: deployment})
		state.Phase, state.Reason = eventlog.PhaseRunning, ReasonUnknownDeployment
		keys := p.keysOf(deployment)
		for _, key := range keys {
			if c := p.found[key][0]; c.State != engine.StateRunning && (!c.State.Ended() || c.ExitCode != 0) {
				state.Phase = eventlog.PhasePending
			}
		}
		p.describeAll(&state, keys)
		p.say(state, "")
	}
}

func (p *planner) state(d Desired) eventlog.DeploymentState {
	return eventlog.DeploymentState{
		DeviceID: p.in.Device, Deployment: d.Deployment, ScoreHash: d.ScoreHash, Revision: d.Revision, Assignment: d.Assignment,
	}
}

func (p *planner) describeAll(state *eventlog.DeploymentState, keys []Key) {
	for _, key := range keys {
		for _, c := range p.found[key] {
			state.Services = append(state.Services, describe(key.Service, &c))
		}
	}
}

func (p *planner) say(state eventlog.DeploymentState, message string) {
	if message != "" {
		message = bound(message)
		state.LastError = &message
	}
	p.out.States = append(p.out.States, state)
}

func describe(service string, c *engine.Container) eventlog.ServiceState {
	if c == nil {
		return eventlog.ServiceState{Name: service, State: string(engine.StateAbsent)}
	}
	return eventlog.ServiceState{
		Name: service, ContainerID: c.ID, ImageDigest: c.ImageDigest, State: string(c.State), Ports: slices.Clone(c.Ports),
	}
}

// maxMessage bounds what a report says of an error, in bytes: engines quote whole
// outputs.
const maxMessage = 1024

func bound(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return strings.ToValidUTF8(message[:maxMessage], "") + "…"
}
