package explain_test

import (
	"encoding/json"
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/storytest"
)

func TestExplainADeploymentThatIsNotAssigned(t *testing.T) {
	t.Parallel()
	const d = kasse
	rival := storytest.Key("lab", "till")
	zone := func(op string, values ...string) func(*eventlog.Deployment) {
		return func(s *eventlog.Deployment) {
			s.Selector.MatchExpressions = []eventlog.SelectorRequirement{{Key: "zone", Operator: op, Values: values}}
		}
	}
	tests := map[string]explained{
		"it does not match: another value": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab", "zone": "b"})
				w.Apply(storytest.Till, 1, storytest.Podman("a"), zone("In", "a"))
			},
			explain.StateNotMatched, "", "its label zone=b (reported by the device) does not satisfy zone=a", "nothing, until the labels of kasse-1 or the selector site=lab,zone=a change", nil,
		},
		"it does not match: no such label": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"zone": "b"})
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
			},
			explain.StateNotMatched, "", "it has no label site, and the selector wants site=lab", "nothing, until", nil,
		},
		"it does not match: a value that is excluded": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab", "zone": "b"})
				w.Apply(storytest.Till, 1, storytest.Podman("a"), zone("NotIn", "b", "c"))
			},
			explain.StateNotMatched, "", "zone=b (reported by the device) does not satisfy zone notin (b,c)", "nothing, until", nil,
		},
		"it does not match: a label that must not be": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab", "zone": "b"})
				w.Apply(storytest.Till, 1, storytest.Podman("a"), zone("DoesNotExist"))
			},
			explain.StateNotMatched, "", "zone=b (reported by the device) does not satisfy !zone", "nothing, until", nil,
		},
		"it does not match: a label that must be": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Apply(storytest.Till, 1, storytest.Podman("a"), zone("Exists"))
			},
			explain.StateNotMatched, "", "it has no label zone, and the selector wants zone", "nothing, until", nil,
		},
		"it does not match: the selector is empty": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Apply(storytest.Till, 1, storytest.Podman("a"), func(s *eventlog.Deployment) { s.Selector = eventlog.Selector{} })
			},
			explain.StateNotMatched, "", "its selector is empty", "nothing, until", nil,
		},
		"it does not match any more, and is off the device": {
			func(w *storytest.Story) {
				on(w)
				moved := w.Label(d, map[string]string{"site": "field"}, "kubectl-label")
				w.Withdraw(d, storytest.Till, moved)
				w.Step(d, storytest.Till, eventlog.AgentStepSucceeded, eventlog.Step{Step: "stop+remove", Reason: "Withdrawn"})
				w.Cleared(d, storytest.Till)
			},
			explain.StateNotMatched, "", "site=field (set by kubectl-label) does not satisfy site=lab", "nothing, until",
			[]string{
				"#4 kasse-1 is online, since then", "#5 shop/till was applied by zoë@shop.example as revision 1",
				"#7 shop/till does not match kasse-1: its label site=field (set by kubectl-label) does not satisfy site=lab",
				"#8 shop/till was withdrawn from kasse-1 <#7", "#9 the agent, service web: stop, remove (Withdrawn)",
				"#10 kasse-1 said that nothing is left of shop/till",
			},
		},
		"the operator has no labels of the device yet": {
			func(w *storytest.Story) {
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "UnknownDeployment", 0)
				w.Say(eventlog.StateSubject(d, "till"), eventlog.StateCleared, nil)
				w.Say(eventlog.DeviceSubject(d), eventlog.DeviceRegistered, eventlog.Registration{})
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
			},
			explain.StateNotMatched, "", "no labels of kasse-1 are in the log yet", "is an operator running?", nil,
		},
		"it is being withdrawn": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.Withdraw(d, storytest.Till, w.Label(d, nil, "x"))
				w.Report(d, storytest.Till, eventlog.PhasePending, "Removing", 1)
			},
			explain.StateWithdrawing, "Removing", "was withdrawn from kasse-1, which has not removed it yet", "withdrawn again", nil,
		},
		"it is withdrawn, and the device is offline": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.Offline(d)
				w.Withdraw(d, storytest.Till, w.End(storytest.Till, eventlog.DeploymentDeleted, "CRDeleted"))
			},
			explain.StateWithdrawing, "", "has not removed it yet", "once it is back online", nil,
		},
		"it is withdrawn, and the device may not connect": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.Withdraw(d, storytest.Till, w.End(storytest.Till, eventlog.DeploymentDeleted, "CRDeleted"))
				w.Say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Stolen"})
			},
			explain.StateWithdrawing, "", "has not removed it yet", "it cannot hear of it", nil,
		},
		"it was deleted": {
			func(w *storytest.Story) {
				on(w)
				w.Withdraw(d, storytest.Till, w.End(storytest.Till, eventlog.DeploymentDeleted, "CRDeleted"))
			},
			explain.StateEnded, "", "shop/till was deleted", "applied again, it goes on at the next revision", nil,
		},
		"another of its name holds the place": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Assign(d, rival, 1, w.Apply(rival, 1, storytest.Podman("a")))
				w.Apply(storytest.Till, 1, storytest.Podman("b"))
			},
			explain.StateNameConflict, "", "shop/till matches kasse-1, but lab/till holds the name there", "rename one of them", nil,
		},
		"another of its name holds the place, and it would not match": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Assign(d, rival, 1, w.Apply(rival, 1, storytest.Podman("a")))
				w.Apply(storytest.Till, 1, storytest.Podman("b"), zone("Exists"))
			},
			explain.StateNotMatched, "", "it has no label zone", "nothing, until", nil,
		},
		"it matches, and is not assigned yet": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
			},
			explain.StateNotPlaced, "", "the operator has not assigned it yet", "fleetctl get deployment till -n shop -o wide", nil,
		},
		"it matches, and its score is of a type that is not known": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Apply(storytest.Till, 1, json.RawMessage(`{"data":{},"type":"PodmanV9"}`))
			},
			explain.StateNotPlaced, "UnsupportedScore", "goes to no device: the type of its score is not known", "nothing, until the score is another one", nil,
		},
		"it matches, and its score is invalid": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Apply(storytest.Till, 1, json.RawMessage(`{"data":{"services":[]},"type":"PodmanV0"}`))
			},
			explain.StateNotPlaced, "InvalidScore", "goes to no device: its score is invalid: ", "nothing, until the score is another one", nil,
		},
		"it matches, and its rollout was aborted before": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
				w.Rollout(storytest.Till, eventlog.RolloutStarted, 1, 2)
				w.Rollout(storytest.Till, eventlog.RolloutAborted, 1, 2)
			},
			explain.StateHeldBack, "Refused", "is not assigned there: the rollout of revision 1 was aborted", "until a person lets the rollout go on", nil,
		},
		"it matches, and has no label that is filled in": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Apply(storytest.Till, 1, storytest.Podman("a:$(device.labels.zone)"))
				w.Rollout(storytest.Till, eventlog.RolloutStarted, 1, 2)
			},
			explain.StateHeldBack, "TemplateValueMissing", "it has no label zone, which image names: kubectl label device kasse-1 zone=VALUE", "until the labels of kasse-1 change", nil,
		},
		"it matches, and reports a label that is filled in itself": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab", "zone": "a"})
				w.Apply(storytest.Till, 1, storytest.Podman("a:$(device.labels.zone)"))
				w.Rollout(storytest.Till, eventlog.RolloutStarted, 1, 2)
			},
			explain.StateHeldBack, "TemplateValueMissing", "it reports label zone itself, and image takes only labels that somebody else set", "until the labels of kasse-1 change", nil,
		},
		"it matches, and is an orphan": {
			func(w *storytest.Story) {
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
				w.End(storytest.Till, eventlog.DeploymentOrphaned, "CRMissing")
				w.Device(d, map[string]string{"site": "lab"})
			},
			explain.StateOrphaned, "", "is orphaned, so it is assigned to no further device", "it is adopted", nil,
		},
		"the log never assigned what the device reports": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "UnknownDeployment", 0)
			},
			explain.StateUnknown, "UnknownDeployment", "which this log never assigned to it", "is left alone", nil,
		},
		"the device was decommissioned": {
			func(w *storytest.Story) {
				on(w)
				w.Say(eventlog.DeviceSubject(d), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Replaced"})
			},
			explain.StateDecommissioned, "", "kasse-1 was decommissioned", "nothing is assigned to it", nil,
		},
	}
	answers(t, tests)
}
