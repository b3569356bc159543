package resource

import (
	"fmt"
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// Action is something that a person can ask for, and whether it would be done as things stand.
type Action struct {
	Name     string `json:"action"` // the verb, or promote-full
	Title    string `json:"title"`
	Does     string `json:"does"` // what it would do
	Possible bool   `json:"possible"`
	WhyNot   string `json:"why_not,omitempty"`
	// Dangerous says that it cannot simply be taken back, so a person confirms it.
	Dangerous bool `json:"dangerous,omitempty"`
	// Revisions are those to which undo can go; 0 stands for what was stable before.
	Revisions []uint64 `json:"to_revisions,omitempty"`

	Command string `json:"command"` // the same for a terminal
}

// ActionPromoteFull is the action of promoting a run to its end. Each other action has the
// name of its verb.
const ActionPromoteFull = "promote-full"

// Request gives the request that an action makes.
func (a Action) Request() eventlog.Request {
	if a.Name == ActionPromoteFull {
		return eventlog.Request{Verb: eventlog.RequestPromote, Full: true}
	}
	return eventlog.Request{Verb: a.Name}
}

// rolloutActions are the actions about a rollout, in the order in which a person needs them.
func rolloutActions() []Action {
	return []Action{
		{Name: eventlog.RequestPause, Title: "Pause", Does: "Hold a rollout: no device is given anything until resume"},
		{Name: eventlog.RequestResume, Title: "Resume", Does: "End a hold, or let a paused rollout go on"},
		{Name: eventlog.RequestPromote, Title: "Promote", Does: "Let a rollout go on after the open batch, whatever its devices say"},
		{Name: ActionPromoteFull, Title: "Promote to the end", Dangerous: true, Does: "Let a rollout go on to its last batch: what is left is not judged any more"},
		{Name: eventlog.RequestAbort, Title: "Abort", Dangerous: true, Does: "End a rollout: each device keeps what it has"},
		{Name: eventlog.RequestUndo, Title: "Undo", Does: "Go back to what ran before"},
		{Name: eventlog.RequestRetry, Title: "Retry", Does: "Try again what was refused after a rollback or an abort"},
		{Name: eventlog.RequestRetryFailed, Title: "Retry the failed devices", Does: "Give the failed devices of a paused rollout another deadline"},
		{Name: eventlog.RequestRestart, Title: "Restart", Does: "Make the containers of what is out again, in batches"},
	}
}

// Does says what a request about a rollout would do; empty where there is no such action.
func Does(action string) string {
	for _, a := range rolloutActions() {
		if a.Name == action {
			return a.Does
		}
	}
	return ""
}

// RolloutActions gives what a person can ask about a Deployment's rollout; none where the log
// does not know the Deployment, or it has ended. Whether something is possible the operator's
// own rules say.
func (c *Catalog) RolloutActions(key fleet.Key) []Action {
	d := c.View.Deployments[key]
	if d == nil || d.Lifecycle == "" || d.Lifecycle == fleet.Deleted {
		return nil
	}
	c.tick()
	all := rolloutActions()
	for i := range all {
		a := &all[i]
		a.Command = "fleetctl rollout " + a.Name + " " + key.Name + " -n " + key.Namespace
		if a.Name == ActionPromoteFull {
			a.Command = "fleetctl rollout promote " + key.Name + " -n " + key.Namespace + " --full"
		}
		q := a.Request()
		q.Revision, q.Run, q.Batch = d.Spec.Revision, d.Run.ID, d.Run.Batch
		refusal := c.state.Refusal(key, q, c.Now)
		if a.Name == eventlog.RequestUndo {
			if a.Revisions = c.undoTo(d, q, refusal == nil); len(a.Revisions) > 0 {
				refusal = nil
			}
		}
		a.settle(refusal, full(d))
	}
	return all
}

// undoTo gives the revisions to which a rollout can go back, the newest first; before them 0,
// where there is one that was stable before.
func (c *Catalog) undoTo(d *fleet.Deployment, q eventlog.Request, stable bool) []uint64 {
	var to []uint64
	if stable {
		to = append(to, 0)
	}
	for _, content := range slices.Backward(d.Contents) {
		q.ToRevision = content.Revision
		if c.state.Refusal(d.Key, q, c.Now) == nil {
			to = append(to, content.Revision)
		}
	}
	return to
}

// full says why the fold takes no more requests about a Deployment; empty where it does.
func full(d *fleet.Deployment) string {
	if len(d.Requests) < fleet.MaxRequests {
		return ""
	}
	return fmt.Sprintf("%d requests are open, and the operator answers none; the fleet keeps no more", len(d.Requests))
}

func (a *Action) settle(r *decide.Refusal, full string) {
	switch {
	case full != "":
		a.WhyNot = full
	case r != nil:
		a.WhyNot = r.Message
	default:
		a.Possible = true
	}
}

// DeploymentActions gives what a person can ask about a Deployment itself; none where the log
// does not know it, or it has ended.
func (c *Catalog) DeploymentActions(key fleet.Key) []Action {
	d := c.View.Deployments[key]
	if d == nil || d.Lifecycle == "" || d.Lifecycle == fleet.Deleted {
		return nil
	}
	a := Action{
		Name: eventlog.RequestWithdraw, Title: "Withdraw", Dangerous: true, Does: "End an orphaned Deployment: take it off its devices",
		Command: "fleetctl withdraw deployment/" + key.Name + " -n " + key.Namespace,
	}
	switch {
	case d.Lifecycle != fleet.Orphaned:
		a.WhyNot = fmt.Sprintf("its object is there; to end it: kubectl delete fleetdep %s -n %s", key.Name, key.Namespace)
	case d.Withdraw != nil:
		a.WhyNot = fmt.Sprintf("%s asked for it already, in event %d", d.Withdraw.User, d.Withdraw.Mark.Sequence)
	default:
		a.Possible = true
	}
	return []Action{a}
}

// DeviceActions gives what a person can ask about a device; none where the log knows nothing
// of it. A device that was decommissioned can be allowed again.
func (c *Catalog) DeviceActions(id string) []Action {
	d := c.View.Devices[id]
	if d == nil || !c.known(fleet.Key{Name: id}) && !d.Out() && d.Access == nil && d.AccessRequest == nil {
		return nil
	}
	all := []Action{
		{Name: eventlog.VerbPing, Title: "Ping", Does: "Ask the device whether it is there", Command: "fleetctl ping " + id, Possible: true},
		{Name: eventlog.RequestRevoke, Title: "Revoke access", Dangerous: true, Does: "End the device's connections and refuse new ones: its key was stolen or leaked", WhyNot: whyNotRevoke(d)},
		{Name: eventlog.RequestAllow, Title: "Allow", Does: "Let a device in again that was decommissioned or cut off", WhyNot: whyNotAllow(d)},
		{Name: eventlog.RequestDecommission, Title: "Decommission", Dangerous: true, Does: "Take the device out of the fleet for good: it was scrapped, sold or stolen", WhyNot: whyNotDecommission(d)},
	}
	for i := range all {
		a := &all[i]
		if a.Name != eventlog.VerbPing {
			a.Command, a.Possible = "fleetctl device "+a.Name+" "+id, a.WhyNot == ""
		}
	}
	return all
}

func whyNotRevoke(d *fleet.Device) string {
	switch q := d.AccessRequest; {
	case q != nil && q.Verb == eventlog.RequestRevoke:
		return fmt.Sprintf("%s asked for it already, in event %d", q.User, q.Mark.Sequence)
	case q == nil && d.Access != nil:
		return fmt.Sprintf("its access is revoked already (%s)", d.Access.Reason)
	}
	return ""
}

func whyNotAllow(d *fleet.Device) string {
	switch q := d.AccessRequest; {
	case q != nil && q.Verb == eventlog.RequestAllow:
		return fmt.Sprintf("%s asked for it already, in event %d", q.User, q.Mark.Sequence)
	case q == nil && d.Access == nil && !d.Out():
		return "nothing keeps it out"
	}
	return ""
}

func whyNotDecommission(d *fleet.Device) string {
	switch {
	case d.Decommissioned:
		return "it is decommissioned already"
	case d.Leaving != nil:
		return fmt.Sprintf("%s asked for it already, in event %d", d.Leaving.User, d.Leaving.Mark.Sequence)
	}
	return ""
}

// ActionNames lists the names of all actions.
func ActionNames() []string {
	names := []string{eventlog.RequestWithdraw, eventlog.VerbPing, eventlog.RequestRevoke, eventlog.RequestAllow, eventlog.RequestDecommission}
	for _, a := range rolloutActions() {
		names = append(names, a.Name)
	}
	return names
}
