package grafana

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// Each replica of the operator folds the whole log and says the same, so that queries
// take the highest over replicas and never their sum.
const (
	onlineDevices  = `max(fleet_operator_devices{online="True"})`
	allDevices     = `sum(max by (online) (fleet_operator_devices))`
	offlineDevices = `max(fleet_operator_devices{online="False"})`
)

// fleetDashboard is where a person begins: what needs a person, and where.
func fleetDashboard() *dashboard.DashboardBuilder {
	d := frame(UIDFleet, "Fleet", "Is the fleet well, and if not, where to look. Begin here.", "now-3h", "30s").
		WithRow(dashboard.NewRowBuilder("Is it well?")).
		WithPanel(figure("Rollouts that need a person", "Deployments whose rollout is paused, held, or waits for an approval. Nothing happens there until a person acts: the table below names them.", units.Short,
			value(`count(
  max by (deployment_namespace, deployment_name) (fleet_rollout_phase{phase="Paused"}) == 1
  or max by (deployment_namespace, deployment_name) (fleet_rollout_held) == 1
  or max by (deployment_namespace, deployment_name) (fleet_rollout_waiting{reason=~"AwaitingApproval|ApproverUnknown"}) == 1
) or vector(0)`, "")).Thresholds(badAbove(1)).Span(4)).
		WithPanel(figure("Rollouts on their way", "Deployments whose rollout goes on or goes back by itself.", units.Short,
			value(`count(max by (deployment_namespace, deployment_name) (fleet_rollout_phase{phase=~"Progressing|RollingBack"}) == 1) or vector(0)`, "")).Thresholds(steps(blue)).Span(4)).
		WithPanel(figure("Devices online", "The share of registered devices whose pulse is heard.", units.PercentUnit,
			value(onlineDevices+"\n/ ("+allDevices+" > 0)", "")).Decimals(1).Thresholds(steps(red, step{0.9, yellow}, step{0.97, green})).Span(4)).
		WithPanel(figure("Devices offline", "Registered devices whose pulse is not heard.", units.Short, value(offlineDevices, "")).Thresholds(steps(green, step{1, yellow})).Span(4)).
		WithPanel(figure("Deployments failed on devices", "Pairs of a Deployment and a device where the device reports Failed. The device goes on trying.", units.Short,
			value(`max(fleet_operator_assignments{phase="Failed"})`, "")).Thresholds(badAbove(1)).Span(4)).
		WithPanel(figure("Operator leads", "Whether one replica of the operator decides. Without one no rollout goes on; devices keep what they run.", units.Short,
			value("max(fleet_operator_leader)", "")).Mappings(yesNo("yes", green, "nobody", red)).Span(4)).
		WithRow(dashboard.NewRowBuilder("Rollouts")).
		WithPanel(rolloutTable("Rollouts, those that need a person first", "")).
		WithPanel(timeline("Phases of rollouts", "The phase of each Deployment's rollout over time.", phaseMappings(),
			series(phaseNumber(""), "{{deployment_namespace}}/{{deployment_name}}")).Span(24).Height(tall)).
		WithRow(dashboard.NewRowBuilder("Devices")).
		WithPanel(stacked("Devices by pulse", "Registered devices by whether their pulse is heard.", units.Short,
			series("max by (online) (fleet_operator_devices)", "online: {{online}}")).
			OverrideByName("online: True", colour(green)).OverrideByName("online: False", colour(red)).OverrideByName("online: Unknown", colour(grey))).
		WithPanel(stacked("Deployments on devices", "Pairs of a Deployment and a device, by how they fare.", units.Short,
			series("max by (phase) (fleet_operator_assignments)", "{{phase}}")).
			OverrideByName("Succeeded", colour(green)).OverrideByName("Failed", colour(red)).OverrideByName("Pending", colour(blue))).
		WithPanel(bars("Agents by version", "Registered devices by the version of their agent.", units.Short,
			value("max by (version) (fleet_agents)", "{{version}}"))).
		WithPanel(graph("Devices in trouble", "Devices whose container engine does not answer, or whose clock is off, as their pulses tell.", units.Short,
			series("max(fleet_agents_engines_down)", "container engine down"),
			series("max(fleet_agents_clocks_off)", "clock off"))).
		WithPanel(figure("Orphaned Deployments", "Deployments whose object is missing in Kubernetes though nobody was seen deleting it. Devices keep them.", units.Short,
			value("max(fleet_operator_orphaned_deployments)", "")).Thresholds(badAbove(1)).Span(6)).
		WithPanel(figure("Devices without access", "Devices whose access is revoked, by a person or because they flooded the log.", units.Short,
			value("max(fleet_operator_access_revoked_devices)", "")).Thresholds(steps(green, step{1, yellow})).Span(6)).
		WithPanel(figure("Keys that end soon", "Devices whose key ends within 30 days, or has ended.", units.Short,
			value("max by (reason) (fleet_operator_key_expiring_devices)", "{{reason}}")).Thresholds(steps(green, step{1, yellow})).Span(6)).
		WithPanel(figure("Deployments", "Deployments in the log, by where they are between apply and delete.", units.Short,
			value(`max by (lifecycle) (fleet_operator_deployments) > 0`, "{{lifecycle}}")).Thresholds(steps(blue)).Span(6)).
		WithPanel(bars("Disruption budgets", "Of each DisruptionBudget: devices that it selects, that are down, that may go down now, and that wait for it.", units.Short,
			value("max by (disruption_budget, state) (fleet_disruption_budget_devices)", "{{disruption_budget}}: {{state}}")).Span(24)).
		WithRow(dashboard.NewRowBuilder("How fast changes reach devices"))
	for _, p := range append(objective(), speed()...) {
		d = d.WithPanel(p)
	}
	d = d.WithRow(dashboard.NewRowBuilder("Events")).
		WithPanel(graph("Rollout events", "Events of rollouts in the log, by type.", units.Short,
			series(`sum by (type) (max by (type, reason) (increase(fleet_rollout_events_total[$__rate_interval])))`, "{{type}}")).
			DrawStyle(common.GraphDrawStyleBars).FillOpacity(80).Span(24)).
		WithPanel(eventGrid("Newest rollout events", "What happened to rollouts, newest first, from the log itself.", "type=rollout."))
	for _, m := range marks("") {
		d = d.Annotation(m)
	}
	return d
}
