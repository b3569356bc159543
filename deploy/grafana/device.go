package grafana

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// agent selects the agent above the dashboard.
const agent = `{instance="$instance"}`

// deviceDashboard is about one device: its events in the log, and its agent where that
// is scraped. No metric of the operator names a device, since there are many.
func deviceDashboard() *dashboard.DashboardBuilder {
	return frame(UIDDevice, "Device", "One device: what the log says of it, and its agent's own metrics where Prometheus scrapes the agent. What all agents count is on Platform, without a scrape.", "now-6h", "30s").
		WithVariable(dashboard.NewTextBoxVariableBuilder("device").Label("Device").Description("The device's id, for its events.").
			DefaultValue(dashboard.StringOrMap{String: new(string)})).
		WithVariable(choice("instance", "Agent", "The agent as Prometheus knows it, for its metrics.", "label_values(fleet_agent_engine_up, instance)")).
		WithRow(dashboard.NewRowBuilder("Its events")).
		WithPanel(eventGrid("Events of this device", "What happened on this device and to it, newest first, from the log itself. Write its id above; while none is there, the table has the events of all.", "device=${device}")).
		WithRow(dashboard.NewRowBuilder("Is its agent well?")).
		WithPanel(figure("Container engine", "Whether Podman answers the agent.", units.Short, value("fleet_agent_engine_up"+agent, "")).
			Mappings(yesNo("answers", green, "silent", red))).
		WithPanel(figure("Deployments", "Deployments on this device, by phase.", units.Short, value("fleet_agent_deployments"+agent, "{{phase}}")).Span(8).
			OverrideByName("Failed", colour(red)).OverrideByName("Running", colour(green)).OverrideByName("Pending", colour(blue))).
		WithPanel(figure("Token ends in", "How long the agent's token still holds. The agent renews it before.", units.Seconds,
			value("(fleet_agent_token_expiry_timestamp_seconds"+agent+" > 0) - time()", "")).Thresholds(steps(red, step{60, yellow}, step{600, green})).NoValue("no token")).
		WithPanel(figure("Key ends in", "How long the provider lets the device's key live. fleetctl enroll rotate gives it another.", units.Seconds,
			value("(fleet_agent_key_expires_timestamp_seconds"+agent+" > 0) - time()", "")).Thresholds(steps(red, step{7 * 86400, yellow}, step{30 * 86400, green})).NoValue("not known")).
		WithPanel(figure("Messages rejected", "Messages that the agent did not believe, in the time range.", units.Short,
			value("sum(increase(fleet_agent_messages_rejected_total"+agent+"[$__range])) or vector(0)", "")).Decimals(0).Thresholds(badAbove(1))).
		WithRow(dashboard.NewRowBuilder("What it does")).
		WithPanel(graph("Steps", "Steps that the agent performed, by verb and by the reason of failure.", units.EventsPerSecond,
			series("sum by (verb, reason) (rate(fleet_agent_steps_total"+agent+"[$__rate_interval]))", "{{verb}} {{reason}}"))).
		WithPanel(graph("Drift", "Containers that were found otherwise than the agent left them, by reason.", units.EventsPerSecond,
			series("sum by (reason) (rate(fleet_agent_drifts_total"+agent+"[$__rate_interval]))", "{{reason}}"))).
		WithPanel(graph("Health checks", "Health checks that the agent made, by result.", units.EventsPerSecond,
			series("sum by (result) (rate(fleet_agent_health_checks_total"+agent+"[$__rate_interval]))", "{{result}}"))).
		WithPanel(graph("Time to list containers", "How long Podman takes to list this device's containers.", units.Seconds,
			series("histogram_quantile(0.95, sum by (le) (rate(fleet_agent_observe_duration_seconds_bucket"+agent+"[$__rate_interval])))", "95 of 100"))).
		WithRow(dashboard.NewRowBuilder("What it says and hears")).
		WithPanel(graph("Reports", "Messages that the log acknowledged, by kind; refused ones; and tries without an answer.", units.EventsPerSecond,
			series("sum by (kind) (rate(fleet_agent_reports_total"+agent+"[$__rate_interval]))", "{{kind}}"),
			series("sum by (kind) (rate(fleet_agent_reports_refused_total"+agent+"[$__rate_interval]))", "{{kind}} refused"),
			series("rate(fleet_agent_report_retries_total"+agent+"[$__rate_interval])", "tried again"),
			series("sum by (reason) (rate(fleet_agent_journal_dropped_total"+agent+"[$__rate_interval]))", "dropped: {{reason}}"))).
		WithPanel(graph("Desired state", "Questions for the whole desired state, by what came of them; values that came as they changed; and gaps that they showed.", units.EventsPerSecond,
			series("sum by (result) (rate(fleet_agent_syncs_total"+agent+"[$__rate_interval]))", "sync {{result}}"),
			series("rate(fleet_agent_live_values_total"+agent+"[$__rate_interval])", "live values"),
			series("rate(fleet_agent_live_gaps_total"+agent+"[$__rate_interval])", "gaps"))).
		WithPanel(graph("Tokens and connections", "Times that the agent asked its provider for a token, was refused by a server, and went over to a new connection.", units.EventsPerSecond,
			series("sum by (outcome) (rate(fleet_agent_token_requests_total"+agent+"[$__rate_interval]))", "token: {{outcome}}"),
			series("rate(fleet_agent_token_refusals_total"+agent+"[$__rate_interval])", "refused by a server"),
			series("rate(fleet_agent_connection_rollovers_total"+agent+"[$__rate_interval])", "new connection"))).
		WithPanel(graph("Memory", "Memory of the agent's process.", units.BytesIEC, series("process_resident_memory_bytes"+agent, "resident")))
}
