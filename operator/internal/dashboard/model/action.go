package model

import (
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// Kinds of what an action is about: the first part of the address of its page.
const (
	OfRollout    = "rollouts"
	OfDeployment = "deployments"
	OfDevice     = "devices"
)

// Subject is what actions are about: a Deployment, its rollout, or a device.
type Subject struct {
	Kind   string
	Key    fleet.Key // of a Deployment
	Device string
}

// String is the subject in words.
func (s Subject) String() string {
	if s.Kind == OfDevice {
		return s.Device
	}
	return s.Key.String()
}

// What is the kind of thing that it is, as a word.
func (s Subject) What() string {
	if s.Kind == OfDevice {
		return "device"
	}
	return "Deployment"
}

// Parts are those of the address of the subject's page.
func (s Subject) Parts() []string {
	if s.Kind == OfDevice {
		return []string{s.Kind, s.Device}
	}
	return []string{s.Kind, s.Key.Namespace, s.Key.Name}
}

// Confirmed is what a person sends to confirm what is dangerous.
const Confirmed = "yes"

// Confirmation is what a person sends to confirm an action on the subject: the device's id, which
// they type, where a device leaves the fleet, and else Confirmed; empty: nothing.
func (s Subject) Confirmation(a resource.Action) string {
	switch {
	case a.Name == eventlog.RequestDecommission:
		return s.Device
	case a.Dangerous:
		return Confirmed
	}
	return ""
}

// Asks is the subject on NATS on which a person asks for something about it.
func (s Subject) Asks(actor string) string {
	if s.Kind == OfDevice {
		return eventlog.DeviceRequestSubject(actor, s.Device)
	}
	return eventlog.RequestSubject(actor, s.Key.Namespace, s.Key.Name)
}

// Seen is what the author of a request saw of a rollout. The operator refuses a request that
// speaks of another revision, run or batch than the present one.
type Seen struct {
	Revision uint64 `json:"revision"`
	Run      uint64 `json:"run"`
	Batch    int    `json:"batch"`
}

// Actions are what a person can ask about a subject.
type Actions struct {
	Subject Subject
	Moment  Moment
	Actions []resource.Action
	Seen    Seen
	Full    bool // so many requests are open that the fleet keeps no more
	// What an action would upset, for the person who confirms it.
	State    string // of the rollout, or of the device
	Target   uint64 // the revision that the rollout brings out
	Devices  int    // that match the Deployment, or have it
	Assigned []string
}

// Action gives one by its name.
func (a *Actions) Action(name string) (resource.Action, bool) {
	for _, x := range a.Actions {
		if x.Name == name {
			return x, true
		}
	}
	return resource.Action{}, false
}

// ActionsOf gives what a person can ask now about a subject; none where the fleet does not
// know it.
func ActionsOf(c *resource.Catalog, s Subject) Actions {
	out := Actions{Subject: s, Moment: MomentOf(c, true)}
	switch s.Kind {
	case OfRollout:
		out.Actions = c.RolloutActions(s.Key)
		if p, ok := c.Progress(s.Key, 0); ok {
			out.State, out.Devices = p.State, p.Matched
			out.Seen, out.Target = seen(c, s.Key), c.View.Deployments[s.Key].Run.Target.Revision
			out.Full = len(p.Requests) >= fleet.MaxRequests
		}
	case OfDeployment:
		if out.Actions = c.DeploymentActions(s.Key); len(out.Actions) > 0 {
			d := c.View.Deployments[s.Key]
			out.State = string(d.Lifecycle)
			for range d.Assigned {
				out.Devices++
			}
		}
	case OfDevice:
		if out.Actions = c.DeviceActions(s.Device); len(out.Actions) > 0 {
			for p := range c.View.Devices[s.Device].Assignments {
				if p.Assigned() {
					out.Assigned = append(out.Assigned, p.Deployment.Key.String())
				}
			}
			slices.Sort(out.Assigned)
		}
	}
	return out
}

// seen is what a person who looks at a rollout sees.
func seen(c *resource.Catalog, key fleet.Key) Seen {
	d := c.View.Deployments[key]
	return Seen{Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch}
}

// Pong is how a device answered whether it is there.
type Pong struct {
	Device    string  `json:"device"`
	Answered  bool    `json:"answered"`
	RoundTrip float64 `json:"round_trip_seconds,omitempty"`
	Agent     string  `json:"agent_version,omitempty"`
	Why       string  `json:"why,omitempty"` // there is no answer
}
