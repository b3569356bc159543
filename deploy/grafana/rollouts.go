package grafana

import (
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// chosen selects the Deployment above the dashboard.
const chosen = `{deployment_namespace="$namespace",deployment_name="$deployment"}`

// standings are those of devices in a rollout, with their colours.
var standings = []struct{ name, colour string }{
	{"healthy", green}, {"updating", blue}, {"waiting", grey}, {"skipped", purple}, {"offline", yellow}, {"failed", red},
}

// rolloutsDashboard is about the rollouts of one Deployment.
func rolloutsDashboard() *dashboard.DashboardBuilder {
	d := frame(UIDRollouts, "Rollouts", "The rollouts of one Deployment: where it stands, what it waits for, and which devices are bad.", "now-3h", "10s").
		WithVariable(choice("namespace", "Namespace", "The Deployment's namespace.", "label_values(fleet_rollout_phase, deployment_namespace)")).
		WithVariable(choice("deployment", "Deployment", "Whose rollouts are shown.", `label_values(fleet_rollout_phase{deployment_namespace="$namespace"}, deployment_name)`)).
		WithRow(dashboard.NewRowBuilder("Is it well?")).
		WithPanel(figure("Phase", "Paused and Aborted rollouts wait for a person: fleetctl rollout status says why and what to do.", units.Short,
			value(phaseNumber(chosen), "")).Mappings(phaseMappings()).Span(4)).
		WithPanel(figure("Waits for", "What the open batch waits for now.", units.Short,
			value("max by (reason) (fleet_rollout_waiting"+chosen+") == 1", "{{reason}}")).TextMode(common.BigValueTextModeName).Thresholds(steps(blue)).NoValue("nothing").Span(4)).
		WithPanel(figure("Failed devices", "Devices that report that they cannot run the target. The table of events below names them, and so does fleetctl rollout status.", units.Short,
			value(perDeployment("fleet_rollout_devices"+with(chosen, `standing="failed"`)), "")).Thresholds(badAbove(1)).Span(4)).
		WithPanel(figure("Healthy devices", "The share of matching devices that run the target well.", units.PercentUnit,
			value(healthyShare(chosen), "")).Decimals(1).Thresholds(steps(blue, step{1, green})).Span(4)).
		WithPanel(figure("Batch", "The open batch, of how many.", units.Short,
			value(perDeployment("fleet_rollout_batch"+chosen), "batch"), value(perDeployment("fleet_rollout_batches"+chosen), "of")).
			Thresholds(steps(blue)).ColorMode(common.BigValueColorModeValue).Orientation(common.VizOrientationVertical).Span(4)).
		WithPanel(figure("Unavailable", "Devices that are unavailable through this rollout, as a share of those that may be. At 100 % it gives nothing to any further device.", units.PercentUnit,
			value(perDeployment("fleet_rollout_unavailable_devices"+chosen)+" / ("+perDeployment("fleet_rollout_max_unavailable_devices"+chosen)+" > 0)", "")).
			Decimals(0).Thresholds(steps(green, step{0.8, yellow}, step{1, red})).Span(4)).
		WithPanel(figure("In this phase for", "How long ago the present phase began.", units.Seconds,
			value("time() - "+perDeployment("fleet_rollout_phase_start_timestamp_seconds"+chosen), "")).Thresholds(steps(blue)).ColorMode(common.BigValueColorModeValue).Span(4)).
		WithPanel(figure("In this batch for", "How long ago the open batch began.", units.Seconds,
			value("time() - "+perDeployment("fleet_rollout_batch_start_timestamp_seconds"+chosen), "")).Thresholds(steps(blue)).ColorMode(common.BigValueColorModeValue).Span(4)).
		WithPanel(figure("Target", "The revision that devices are brought to, and that of the spec. They differ while it goes back.", units.Short,
			value(perDeployment("fleet_rollout_revision"+chosen), "revision"), value(perDeployment("fleet_rollout_spec_revision"+chosen), "spec")).
			Thresholds(steps(blue)).ColorMode(common.BigValueColorModeValue).Span(4)).
		WithPanel(figure("Held", "Whether a person's hold or spec.rollout.paused stops it. fleetctl rollout resume ends a hold.", units.Short,
			value(perDeployment("fleet_rollout_held"+chosen), "")).Mappings(yesNo("held", yellow, "no", green)).Span(4)).
		WithPanel(figure("Bad devices of the batch", "Devices of the open batch that count against it.", units.Short,
			value(perDeployment("fleet_rollout_batch_devices"+with(chosen, `class="bad"`)), "")).Thresholds(badAbove(1)).NoValue("no batch").Span(4)).
		WithPanel(figure("Offline devices", "Matching devices that are offline. They are given the target when they are back.", units.Short,
			value(perDeployment("fleet_rollout_devices"+with(chosen, `standing="offline"`)), "")).Thresholds(steps(green, step{1, yellow})).Span(4)).
		WithRow(dashboard.NewRowBuilder("Devices"))
	devices := stacked("Devices by standing", "How each matching device fares in the rollout. The six standings add up to all matching devices.", units.Short,
		series("max by (standing) (fleet_rollout_devices"+chosen+")", "{{standing}}")).Height(tall)
	for _, s := range standings {
		devices = devices.OverrideByName(s.name, colour(s.colour))
	}
	d = d.WithPanel(devices).
		WithPanel(graph("Unavailable devices and their limit", "Devices that are unavailable through this rollout, and how many may be.", units.Short,
			series(perDeployment("fleet_rollout_unavailable_devices"+chosen), "unavailable"), series(perDeployment("fleet_rollout_max_unavailable_devices"+chosen), "may be")).
			Height(tall).OverrideByName("may be", colour(red)).OverrideByName("unavailable", colour(blue))).
		WithPanel(stacked("Devices of the open batch", "How the devices of the open batch are judged: waiting to be given it, open, proven, or bad.", units.Short,
			series("max by (class) (fleet_rollout_batch_devices"+chosen+")", "{{class}}")).
			OverrideByName("proven", colour(green)).OverrideByName("open", colour(blue)).OverrideByName("waiting", colour(grey)).OverrideByName("bad", colour(red)).Span(8)).
		WithPanel(timeline("Phase over time", "The phase of the rollout over time.", phaseMappings(), series(phaseNumber(chosen), "phase")).Span(8)).
		WithPanel(timeline("Batch over time", "The open batch over time.", nil, series(perDeployment("fleet_rollout_batch"+chosen), "batch")).Span(8)).
		WithRow(dashboard.NewRowBuilder("What it waits for")).
		WithPanel(stacked("Time by what the batch waits for", "Seconds of each second that the open batch waited, by what it waited for. The operator's leader counts it.", units.PercentUnit,
			series("sum by (reason) (rate(fleet_rollout_wait_seconds_total"+chosen+"[$__rate_interval]))", "{{reason}}"))).
		WithPanel(bars("Time waited in the range", "How long the open batches of the time range waited, by what they waited for.", units.Seconds,
			value("sum by (reason) (increase(fleet_rollout_wait_seconds_total"+chosen+"[$__range])) > 0", "{{reason}}"))).
		WithPanel(timeline("Waits for over time", "What the open batch waited for, over time.", yesNo("waits", blue, "", "transparent"),
			series("max by (reason) (fleet_rollout_waiting"+chosen+")", "{{reason}}"))).
		WithPanel(bars("Disruption budgets that block", "Devices that wait for a DisruptionBudget, of all Deployments.", units.Short,
			value(`max by (disruption_budget) (fleet_disruption_budget_devices{state="blocked"})`, "{{disruption_budget}}"))).
		WithPanel(graph("Answers to gates", "Questions of gates to Prometheus servers, of all Deployments, by what came of them. A gate that has no value holds its batch.", units.EventsPerSecond,
			series("sum by (server, result) (rate(fleet_operator_gate_queries_total[$__rate_interval]))", "{{server}}: {{result}}"))).
		WithPanel(graph("Time of an answer to a gate", "How long Prometheus servers took for the questions of gates.", units.Seconds,
			series("histogram_quantile(0.99, sum by (server, le) (rate(fleet_operator_gate_query_seconds_bucket[$__rate_interval])))", "{{server}}: 99 of 100"))).
		WithRow(dashboard.NewRowBuilder("How fast changes reach devices, of the whole fleet"))
	for _, p := range speed() {
		d = d.WithPanel(p)
	}
	d = d.WithRow(dashboard.NewRowBuilder("Events")).
		WithPanel(eventGrid("Events of this Deployment", "What happened to this Deployment's rollouts, newest first, from the log itself.", "namespace=${namespace}&deployment=${deployment}&type=rollout.")).
		WithPanel(bars("Rollout events of the whole fleet in the range", "How many events of rollouts the log got, by type and reason.", units.Short,
			value(`max by (type, reason) (increase(fleet_rollout_events_total[$__range])) > 0`, "{{type}} {{reason}}")).Span(24).Decimals(0)).
		WithPanel(rolloutTable("This Deployment in figures", chosen).Height(5))
	for _, m := range marks(chosen) {
		d = d.Annotation(m)
	}
	return d
}
