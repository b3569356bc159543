package history_test

import (
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/history"
)

func TestExplainADeploymentThatIsNotAssigned(t *testing.T) {
	t.Parallel()
	const d = kasse
	rival := key("lab", "till")
	zone := func(op string, values ...string) func(*eventlog.Deployment) {
		return func(s *eventlog.Deployment) {
			s.Selector.MatchExpressions = []eventlog.SelectorRequirement{{Key: "zone", Operator: op, Values: values}}
		}
	}
	tests := map[string]explained{
		"it does not match: another value": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab", "zone": "b"})
				w.apply(till, 1, podman("a"), zone("In", "a"))
			},
			history.StateNotMatched, "", "its label zone=b (reported by the device) does not satisfy zone=a", "nothing, until the labels of kasse-1 or the selector site=lab,zone=a change", nil,
		},
		"it does not match: no such label": {
			func(w *tale) {
				w.device(d, map[string]string{"zone": "b"})
				w.apply(till, 1, podman("a"))
			},
			history.StateNotMatched, "", "it has no label site, and the selector wants site=lab", "nothing, until", nil,
		},
		"it does not match: a value that is excluded": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab", "zone": "b"})
				w.apply(till, 1, podman("a"), zone("NotIn", "b", "c"))
			},
			history.StateNotMatched, "", "zone=b (reported by the device) does not satisfy zone notin (b,c)", "nothing, until", nil,
		},
		"it does not match: a label that must not be": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab", "zone": "b"})
				w.apply(till, 1, podman("a"), zone("DoesNotExist"))
			},
			history.StateNotMatched, "", "zone=b (reported by the device) does not satisfy !zone", "nothing, until", nil,
		},
		"it does not match: a label that must be": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.apply(till, 1, podman("a"), zone("Exists"))
			},
			history.StateNotMatched, "", "it has no label zone, and the selector wants zone", "nothing, until", nil,
		},
		"it does not match: the selector is empty": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.apply(till, 1, podman("a"), func(s *eventlog.Deployment) { s.Selector = eventlog.Selector{} })
			},
			history.StateNotMatched, "", "its selector is empty", "nothing, until", nil,
		},
		"it does not match any more, and is off the device": {
			func(w *tale) {
				on(w)
				moved := w.label(d, map[string]string{"site": "field"}, "kubectl-label")
				w.withdraw(d, till, moved)
				w.step(d, till, eventlog.AgentStepSucceeded, eventlog.Step{Step: "stop+remove", Reason: "Withdrawn"})
				w.cleared(d, till)
			},
			history.StateNotMatched, "", "site=field (set by kubectl-label) does not satisfy site=lab", "nothing, until",
			[]string{
				"#4 kasse-1 is online, since then", "#5 shop/till was applied by zoë@shop.example as revision 1",
				"#7 shop/till does not match kasse-1: its label site=field (set by kubectl-label) does not satisfy site=lab",
				"#8 shop/till was withdrawn from kasse-1 <#7", "#9 the agent, service web: stop, remove (Withdrawn)",
				"#10 kasse-1 said that nothing is left of shop/till",
			},
		},
		"the operator has no labels of the device yet": {
			func(w *tale) {
				w.report(d, till, eventlog.PhaseRunning, "UnknownDeployment", 0)
				w.say(eventlog.StateSubject(d, "till"), eventlog.StateCleared, nil)
				w.say(eventlog.DeviceSubject(d), eventlog.DeviceRegistered, eventlog.Registration{})
				w.apply(till, 1, podman("a"))
			},
			history.StateNotMatched, "", "no labels of kasse-1 are in the log yet", "is an operator running?", nil,
		},
		"it is being withdrawn": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.withdraw(d, till, w.label(d, nil, "x"))
				w.report(d, till, eventlog.PhasePending, "Removing", 1)
			},
			history.StateWithdrawing, "Removing", "was withdrawn from kasse-1, which has not removed it yet", "withdrawn again", nil,
		},
		"it is withdrawn, and the device is offline": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.offline(d)
				w.withdraw(d, till, w.end(till, eventlog.DeploymentDeleted, "CRDeleted"))
			},
			history.StateWithdrawing, "", "has not removed it yet", "once it is back online", nil,
		},
		"it is withdrawn, and the device may not connect": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.withdraw(d, till, w.end(till, eventlog.DeploymentDeleted, "CRDeleted"))
				w.say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Stolen"})
			},
			history.StateWithdrawing, "", "has not removed it yet", "it cannot hear of it", nil,
		},
		"it was deleted": {
			func(w *tale) {
				on(w)
				w.withdraw(d, till, w.end(till, eventlog.DeploymentDeleted, "CRDeleted"))
			},
			history.StateEnded, "", "shop/till was deleted", "applied again, it goes on at the next revision", nil,
		},
		"another of its name holds the place": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.assign(d, rival, 1, w.apply(rival, 1, podman("a")))
				w.apply(till, 1, podman("b"))
			},
			history.StateNameConflict, "", "shop/till matches kasse-1, but lab/till holds the name there", "rename one of them", nil,
		},
		"another of its name holds the place, and it would not match": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.assign(d, rival, 1, w.apply(rival, 1, podman("a")))
				w.apply(till, 1, podman("b"), zone("Exists"))
			},
			history.StateNotMatched, "", "it has no label zone", "nothing, until", nil,
		},
		"it matches, and is not assigned yet": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.apply(till, 1, podman("a"))
			},
			history.StateNotPlaced, "", "the operator has not assigned it yet", "fleetctl get deployment till -n shop -o wide", nil,
		},
		"it matches, and its rollout was aborted before": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.apply(till, 1, podman("a"))
				w.rollout(till, eventlog.RolloutStarted, 1, 2)
				w.rollout(till, eventlog.RolloutAborted, 1, 2)
			},
			history.StateHeldBack, "", "its rollout stopped before", "until the rollout goes on", nil,
		},
		"it matches, and is an orphan": {
			func(w *tale) {
				w.apply(till, 1, podman("a"))
				w.end(till, eventlog.DeploymentOrphaned, "CRMissing")
				w.device(d, map[string]string{"site": "lab"})
			},
			history.StateOrphaned, "", "is orphaned, so it is assigned to no further device", "it is adopted", nil,
		},
		"the log never assigned what the device reports": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.report(d, till, eventlog.PhaseRunning, "UnknownDeployment", 0)
			},
			history.StateUnknown, "UnknownDeployment", "which this log never assigned to it", "is left alone", nil,
		},
		"the device was decommissioned": {
			func(w *tale) {
				on(w)
				w.say(eventlog.DeviceSubject(d), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Replaced"})
			},
			history.StateDecommissioned, "", "kasse-1 was decommissioned", "nothing is assigned to it", nil,
		},
	}
	explain(t, tests)
}
