package resource

import (
	"fmt"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// RolloutAnswer reads the event by which the operator answers a request about a rollout; false
// where an event answers another request, or none.
func RolloutAnswer(e eventlog.Event, request uint64) (eventlog.Rollout, bool) {
	if e.Type.Family() != eventlog.FamilyDeployment || !strings.HasPrefix(string(e.Type), "rollout.") {
		return eventlog.Rollout{}, false
	}
	r, err := eventlog.Payload[eventlog.Rollout](e)
	return r, err == nil && r.Request == request // the fold skips one that cannot be read, too
}

// RolloutAnswerText says in a sentence what the operator did, and on says whether the rollout
// goes on, so that a person may want to watch it.
func RolloutAnswerText(key fleet.Key, e eventlog.Event, r eventlog.Rollout) (text string, on bool) {
	event := fmt.Sprintf("(event %d)", e.Sequence)
	switch e.Type {
	case eventlog.RolloutPaused:
		return fmt.Sprintf("%s is on hold %s: no device is given anything until resume", key, event), false
	case eventlog.RolloutResumed:
		return fmt.Sprintf("%s goes on %s", key, event), true
	case eventlog.RolloutPromoted:
		if r.Full {
			return fmt.Sprintf("%s goes on to its last batch, and nothing is judged any more %s", key, event), true
		}
		return fmt.Sprintf("%s goes on after batch %d %s", key, r.Batch, event), true
	case eventlog.RolloutAborted:
		return fmt.Sprintf("the rollout of %s to revision %d is aborted %s: each device keeps what it has", key, r.Revision, event), false
	case eventlog.RolloutStarted:
		switch r.Kind {
		case eventlog.RunRollback:
			return fmt.Sprintf("%s goes back from revision %d to %d %s", key, r.From, r.Revision, event), true
		case eventlog.RunRestart:
			return fmt.Sprintf("%s restarts at revision %d, in batches %s", key, r.Revision, event), true
		}
		return fmt.Sprintf("%s tries revision %d again, from the first batch %s", key, r.Revision, event), true
	}
	return fmt.Sprintf("the operator answered with %s %s", e.Type, event), false
}
