package resource

import (
	"fmt"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/window"
)

// whyDevice says in a few words what a device waits for, or what is wrong with it.
func whyDevice(d *fleet.Deployment, dev *decide.ShownDevice, shown *decide.Shown) string {
	run := &d.Run
	switch {
	case dev.Skipped != "" && dev.Unfilled != "":
		return dev.Skipped + ": " + dev.Unfilled
	case dev.Skipped != "":
		return dev.Skipped
	case !dev.Soaked.IsZero():
		return fmt.Sprintf("its soak goes on for %v", dev.Soaked.Sub(shown.Clock).Round(time.Second))
	case dev.Class == rollout.Lost, dev.Failure == rollout.Lost.String():
		return "it went offline before it was healthy"
	case dev.Class == rollout.Silent, dev.Failure == rollout.Silent.String():
		return fmt.Sprintf("it has said nothing of the revision for %v", shown.Settings.Deadline)
	case dev.Class == rollout.Flaps:
		return "it was never healthy for a whole soak"
	case dev.Failure != "" && dev.Error != "":
		return dev.Failure + ": " + dev.Error
	case dev.Failure != "":
		return dev.Failure
	case dev.Standing == rollout.Offline:
		return "it is given the revision when it is back"
	case dev.Standing != rollout.StandsWaiting:
		return ""
	case d.Hold != nil:
		return "a person holds the rollout"
	case shown.Settings.Paused:
		return "spec.rollout.paused holds it"
	case run.Phase == fleet.PhasePaused:
		return "the rollout is paused"
	case dev.Blocked == v1alpha1.ReasonDependencyCycle:
		return "the Deployment depends on itself by way of others"
	case dev.Blocked != "":
		return fmt.Sprintf("deployment/%s is not healthy there yet", dev.Blocked)
	case dev.Batch > run.Batch && run.Phase == fleet.PhaseProgressing:
		return fmt.Sprintf("batch %d is not open yet", dev.Batch)
	case shown.Shut:
		return hoursText(window.State{Until: shown.Opens})
	case shown.Paced:
		return "spec.rollout.rate lets no more be given it at the moment"
	case dev.Budget != "":
		return fmt.Sprintf("DisruptionBudget %s has no room", dev.Budget)
	case shown.Disturbed >= shown.Settings.MostUnavailable(shown.Matched) && run.Phase.Moving():
		return "maxUnavailable devices are at it"
	}
	return ""
}

// todo says what a person can do, in the words of the verbs of fleetctl rollout.
func (p *Progress) todo(run *fleet.Run) string {
	if len(p.Requests) > 0 {
		q := p.Requests[0]
		return fmt.Sprintf("the operator has not answered the %s of %s; if that lasts: is an operator running?", q.Verb, q.By)
	}
	switch p.State {
	case StateOrphaned:
		return "nothing moves, for its custom resource is gone: apply it again, or fleetctl withdraw"
	case StateNotStarted:
		return "if it does not start: is an operator running?"
	case StateHeld:
		if p.Hold != nil {
			return "resume lets it go on; undo goes back"
		}
		return "set spec.rollout.paused to false in the manifest"
	case string(fleet.PhasePaused):
		return PausedTodo(run.Reason)
	case string(fleet.PhaseAborted):
		return "undo goes back; retry tries the revision again; a new revision takes its place"
	case string(fleet.PhaseRolledBack):
		return "apply a new revision, or retry the refused one"
	case string(fleet.PhaseProgressing):
		for _, b := range p.Batches {
			if b.State == BatchApproval && b.Approval == approvalFourEyes {
				return "somebody else than the author of the change approves, by annotation on the Deployment"
			}
			if b.State == BatchApproval {
				return "promote lets it go on; undo goes back"
			}
		}
	}
	return ""
}

// PausedTodo is what to do about a rollout that the operator paused.
func PausedTodo(reason string) string {
	switch reason {
	case v1alpha1.ReasonBatchFailed, v1alpha1.ReasonNothingToRollBackTo:
		return "undo goes back; a new revision mends it; retry-failed gives the devices another deadline; promote goes on all the same"
	case v1alpha1.ReasonNothingProven:
		return "undo goes back; promote goes on without a proof"
	case v1alpha1.ReasonGateFailed, v1alpha1.ReasonGateUnanswered:
		return "look at what the gate asks; then fleetctl rollout resume, undo, or promote to go on without it"
	case v1alpha1.ReasonBudgetExhausted:
		return "mend what is down, or raise the budget; then resume"
	case v1alpha1.ReasonOfflineDevices:
		return "bring the devices back, then resume; promote goes on without them"
	case v1alpha1.ReasonRollbackFailed:
		return "mend the devices that fail, then resume"
	case v1alpha1.ReasonPinMatchesNothing:
		return "correct the batch's selector; resume goes on without such devices"
	case v1alpha1.ReasonLogRestored:
		return "look at the devices; then resume, or undo"
	}
	return "resume lets it go on; undo goes back"
}
