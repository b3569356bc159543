package status

import (
	"encoding/json"
	"fmt"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/rollout"
)

// Event is what a Kubernetes Event says of a change of a rollout's state.
type Event struct {
	Reason  string
	Action  string
	Note    string
	Warning bool // a person has to look
}

// EventOf gives the Event about a rollout event that the log acknowledged; ok is false
// for what is none, and for what changes no state.
func EventOf(d eventlog.Draft) (e Event, ok bool) {
	e.Action = "Rollout"
	if d.Type.Family() != eventlog.FamilyDeployment {
		return e, false
	}
	var r eventlog.Rollout
	if json.Unmarshal(d.Data, &r) != nil {
		return e, false
	}
	by := ""
	if r.Request > 0 {
		by = " by " + orText(d.Actor, "a person")
		if r.Message != "" {
			by += ": " + r.Message
		}
	}
	counts := ""
	if n := r.Counts; n != nil {
		counts = fmt.Sprintf("; %d proven, %d bad (%d allowed), %d waiting, %d offline", n.Proven, n.Bad, n.Allowed, n.Waiting, n.Offline)
	}
	switch d.Type {
	case eventlog.RolloutStarted:
		e.Reason, e.Note = "RolloutStarted", startText(r)+by
		e.Warning = r.Kind == eventlog.RunRollback
	case eventlog.RolloutBatchStarted:
		e.Reason, e.Note = "BatchStarted", fmt.Sprintf("batch %d of revision %d is open", r.Batch, r.Revision)
	case eventlog.RolloutBatchSucceeded:
		e.Reason, e.Note = "BatchSucceeded", fmt.Sprintf("batch %d of revision %d succeeded%s", r.Batch, r.Revision, counts)
	case eventlog.RolloutBatchFailed:
		e.Reason, e.Note, e.Warning = "BatchFailed", r.Message+counts+examplesText(r.Examples), true
	case eventlog.RolloutPaused:
		e.Reason, e.Note, e.Warning = "RolloutPaused", fmt.Sprintf("%s: %s", r.Reason, r.Message), true
		if r.Request > 0 {
			e.Note, e.Warning = "the rollout is held"+by, false
		}
	case eventlog.RolloutStalled:
		e.Reason, e.Note, e.Warning = "RolloutStalled", fmt.Sprintf("%s: %s", r.Reason, r.Message)+examplesText(r.Examples), true
	case eventlog.RolloutResumed:
		e.Reason, e.Note = "RolloutResumed", "the rollout goes on"+by
	case eventlog.RolloutPromoted:
		e.Reason, e.Note = "RolloutPromoted", fmt.Sprintf("batch %d is let pass%s", r.Batch, by)
	case eventlog.RolloutAborted:
		e.Reason, e.Note, e.Warning = "RolloutAborted", fmt.Sprintf("the rollout of revision %d is ended%s", r.Revision, by), true
	case eventlog.RolloutRolledBack:
		e.Reason, e.Note, e.Warning = "RolledBack", fmt.Sprintf("devices run revision %d again", r.Revision), true
	case eventlog.RolloutCompleted:
		e.Reason, e.Note = "RolloutCompleted", fmt.Sprintf("revision %d is out", r.Revision)
	case eventlog.RolloutRequestRefused:
		e.Reason, e.Note = "RequestRefused", fmt.Sprintf("%s of %s is refused: %s", r.Verb, orText(d.Actor, "a person"), r.Message)
	default:
		return e, false
	}
	return e, true
}

func startText(r eventlog.Rollout) string {
	switch r.Kind {
	case eventlog.RunImmediate:
		return fmt.Sprintf("revision %d is given to %s at once, for the strategy is Immediate and nothing is proven first; "+
			`to have it given in batches: kubectl patch fleetdep NAME --type=json -p '[{"op":"remove","path":"/spec/rollout/strategy"}]'`, r.Revision, rollout.DevicesText(r.Devices))
	case eventlog.RunRollback:
		return fmt.Sprintf("devices are given revision %d again in place of revision %d (%s)", r.Revision, r.From, r.Reason)
	case eventlog.RunRestart:
		return fmt.Sprintf("the containers of revision %d are made again in %d batches", r.Revision, len(r.Batches))
	}
	return fmt.Sprintf("revision %d is given to %s in %s", r.Revision, rollout.DevicesText(r.Devices), batches(len(r.Batches)))
}

func batches(n int) string {
	if n == 1 {
		return "1 batch"
	}
	return fmt.Sprintf("%d batches", n)
}

func examplesText(examples []eventlog.DeviceExample) string {
	if len(examples) == 0 {
		return ""
	}
	e := examples[0]
	return fmt.Sprintf("; such as %s: %s %s", e.Device, e.Reason, e.Error)
}
