package rules

// of are the labels of a Deployment.
const of = "deployment_namespace, deployment_name"

// its names a Deployment in a sentence, and itsFlags in a command.
const (
	its      = "{{ $labels.deployment_namespace }}/{{ $labels.deployment_name }}"
	itsFlags = "{{ $labels.deployment_name }} -n {{ $labels.deployment_namespace }}"
)

func rolloutAlerts() []alert {
	return []alert{
		{
			name: "FleetRolloutPaused", severity: Critical, lasts: "1m",
			expr: `
max by (` + of + `, reason) (fleet_rollout_waiting{reason!="RollbackFailed"})
* on (` + of + `) group_left ()
(max by (` + of + `) (fleet_rollout_phase{phase="Paused"}) == 1)`,
			summary: "The rollout of " + its + " is paused: {{ $labels.reason }}.",
			act:     "No further device is given the change. Run fleetctl rollout status " + itsFlags + ": it says which devices are bad and what to do; fleetctl rollout undo " + itsFlags + " goes back to what ran before.",
		},
		{
			name: "FleetRollbackFailed", severity: Critical, lasts: "1m",
			expr:    `max by (` + of + `) (fleet_rollout_waiting{reason="RollbackFailed"}) == 1`,
			summary: "The rollback of " + its + " failed: devices are not well on what they were given back either.",
			act:     "Mend the devices that fleetctl rollout status " + itsFlags + " names, then run fleetctl rollout resume " + itsFlags + ".",
		},
		{
			name: "FleetRolloutRolledBack", severity: Warning, lasts: "15m",
			expr:    `max by (` + of + `) (fleet_rollout_phase{phase="RolledBack"}) == 1`,
			summary: "The rollout of " + its + " went back to what ran before, and the spec is not tried again until it changes.",
			act:     "Run fleetctl rollout history " + itsFlags + " to see why it went back, then apply a revision that mends it, or run fleetctl rollout retry " + itsFlags + ".",
		},
		{
			// Reasons that are not in the list end by themselves, or have an alert of their own.
			name: "FleetRolloutStalled", severity: Critical, lasts: "5m",
			expr: `
max by (` + of + `, reason) (fleet_rollout_waiting{reason=~"AwaitingDevices|AwaitingDependencies|DependencyCycle|AwaitingBudget|RollingBack|Progressing"})
and on (` + of + `) time() - max by (` + of + `) (fleet_rollout_phase_start_timestamp_seconds) > 1800
unless on (` + of + `) time() - max by (` + of + `) (fleet_rollout_batch_start_timestamp_seconds) < 1800
unless on (` + of + `) max by (` + of + `) (changes(fleet_rollout_devices{standing="healthy"}[30m])) > 0`,
			summary: "The rollout of " + its + " has brought the change to no further device for 30 minutes; it waits: {{ $labels.reason }}.",
			act:     "Run fleetctl rollout status " + itsFlags + " to see which devices it waits for, and fleetctl explain device/ID deployment/" + itsFlags + " for one of them.",
		},
		{
			name: "FleetRolloutAwaitsApproval", severity: Warning, lasts: "4h",
			expr:    `max by (` + of + `, reason) (fleet_rollout_waiting{reason=~"AwaitingApproval|ApproverUnknown"}) == 1`,
			summary: "The rollout of " + its + " has waited for a person's approval for 4 hours.",
			act:     "Look at the batch with fleetctl rollout status " + itsFlags + ", then let it go on with fleetctl rollout promote " + itsFlags + " or end it with fleetctl rollout abort " + itsFlags + ".",
		},
		{
			name: "FleetDisruptionBudgetExhausted", severity: Warning, lasts: "1h",
			expr: `
max by (disruption_budget) (fleet_disruption_budget_devices{state="blocked"}) > 0
and max by (disruption_budget) (fleet_disruption_budget_devices{state="down"}) > 0`,
			summary: "The DisruptionBudget {{ $labels.disruption_budget }} has kept {{ $value }} devices waiting for an hour.",
			act:     "Bring back the devices that are down, or raise the budget: kubectl describe disruptionbudget {{ $labels.disruption_budget }} shows how much of it is used.",
		},
	}
}
