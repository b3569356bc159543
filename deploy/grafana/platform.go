package grafana

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// platformDashboard is about the parts that run a fleet: operator, event log, callout
// and agents.
func platformDashboard() *dashboard.DashboardBuilder {
	d := frame(UIDPlatform, "Platform", "The parts that run the fleet: the operator, the event log on NATS as the operator sees it, the auth callout, and all agents together.", "now-6h", "30s").
		WithRow(dashboard.NewRowBuilder("Is it well?")).
		WithPanel(figure("Leaders", "Replicas of the operator that lead: one. With none nothing is decided.", units.Short, value("sum(fleet_operator_leader)", "")).
			Thresholds(steps(red, step{1, green}, step{2, red}))).
		WithPanel(figure("Log used", "Size of the event log as a share of what it may take; 0 without a limit.", units.PercentUnit, value("max(fleet_operator_log_bytes_ratio)", "")).
			Decimals(0).Thresholds(steps(green, step{0.8, yellow}, step{0.95, red}))).
		WithPanel(figure("Log full", "Whether the log takes no more events, or lives on its reserve.", units.Short,
			value("max(fleet_operator_log_full)", "full"), value("max(fleet_operator_log_reserve_open)", "on its reserve")).Mappings(yesNo("yes", red, "no", green))).
		WithPanel(figure("Buckets not in service", "Buckets that are stalled or out of service: what they say reaches nobody live.", units.Short,
			value("count(max by (bucket) (fleet_operator_bucket_stalled) == 1 or max by (bucket) (fleet_operator_bucket_out_of_service) == 1) or vector(0)", "")).Thresholds(badAbove(1))).
		WithPanel(figure("Seal", "Whether a seal contradicted the log: fleetctl verify shows where.", units.Short, value("max(fleet_operator_seal_broken)", "")).Mappings(yesNo("broken", red, "holds", green))).
		WithPanel(figure("Targets down", "Targets of the fleet that Prometheus cannot scrape.", units.Short, value(`count(up{job=~"fleet-.+"} == 0) or vector(0)`, "")).Thresholds(badAbove(1))).
		WithRow(dashboard.NewRowBuilder("Operator")).
		WithPanel(timeline("Who leads", "Which replica of the operator leads, over time.", yesNo("leads", green, "stands by", grey), series("fleet_operator_leader", "{{instance}}"))).
		WithPanel(graph("Behind the log", "Age of the oldest event of the log that a replica has not folded yet, and that its dashboard has not.", units.Seconds,
			series("fleet_operator_fold_lag_seconds", "{{instance}}"),
			series("fleet_dashboard_fold_lag_seconds", "{{instance}} dashboard"))).
		WithPanel(graph("Events appended by the operator", "Events that the operator appended to the log, by type.", units.EventsPerSecond,
			series("sum by (type) (rate(fleet_operator_appends_total[$__rate_interval]))", "{{type}}"))).
		WithPanel(graph("Writes to Kubernetes", "Writes of objects and their status, by kind.", units.EventsPerSecond,
			series("sum by (kind) (rate(fleet_operator_patches_total[$__rate_interval]))", "{{kind}}"))).
		WithPanel(graph("Answers to devices that sync", "Answers to devices that asked for their desired state, by result.", units.EventsPerSecond,
			series("sum by (result) (rate(fleet_operator_sync_answers_total[$__rate_interval]))", "{{result}}"))).
		WithPanel(graph("Time of an answer to a sync", "Time to gather and send a complete answer.", units.Seconds,
			series("histogram_quantile(0.5, sum by (le) (rate(fleet_operator_sync_answer_seconds_bucket[$__rate_interval])))", "half"),
			series("histogram_quantile(0.99, sum by (le) (rate(fleet_operator_sync_answer_seconds_bucket[$__rate_interval])))", "99 of 100"))).
		WithPanel(graph("Requests for events", "Requests to /api/v1/events, which the tables of events make, by the code of the answer.", units.EventsPerSecond,
			series("sum by (code) (rate(fleet_events_api_requests_total[$__rate_interval]))", "{{code}}"))).
		WithPanel(graph("Time of a request for events", "Time that a request to /api/v1/events took.", units.Seconds,
			series("histogram_quantile(0.5, sum by (le) (rate(fleet_events_api_request_seconds_bucket[$__rate_interval])))", "half"),
			series("histogram_quantile(0.99, sum by (le) (rate(fleet_events_api_request_seconds_bucket[$__rate_interval])))", "99 of 100"))).
		WithRow(dashboard.NewRowBuilder("Event log on NATS, as the operator sees it")).
		WithPanel(graph("Size of the log", "Size of the event log on disk.", units.BytesIEC, series("max(fleet_operator_log_bytes)", "log"))).
		WithPanel(graph("Growth of the log", "Messages that the log gets.", units.EventsPerSecond,
			series("max(deriv(fleet_operator_log_last_sequence[$__rate_interval]))", "messages"),
			series("sum(rate(fleet_operator_foreign_messages_total[$__rate_interval]))", "foreign messages"))).
		WithPanel(graph("Not sealed yet", "Age of the oldest event of the log that no seal covers. An operator seals after 10 minutes, unless it is told otherwise.", units.Seconds,
			series("max(fleet_operator_seal_lag_seconds)", "no seal covers it"))).
		WithPanel(graph("After the newest checkpoint", "Events that an operator which starts has to fold. Checkpoints are made by the number of events, and so their age says little.", units.Short,
			series("max(fleet_operator_log_last_sequence) - max(fleet_operator_checkpoint_last_sequence)", "events"))).
		WithPanel(graph("Buckets behind the log", "Age of the oldest message that a bucket does not have. The server copies within a second.", units.Seconds,
			series("max by (bucket) (fleet_operator_bucket_lag_seconds)", "{{bucket}}"))).
		WithPanel(graph("Buckets", "Buckets that stall or are out of service, and what the operator did about it.", units.Short,
			series("max by (bucket) (fleet_operator_bucket_stalled)", "{{bucket}} stalled"),
			series("max by (bucket) (fleet_operator_bucket_out_of_service)", "{{bucket}} out of service"),
			series("sum by (bucket) (increase(fleet_operator_bucket_repairs_total[$__rate_interval]))", "{{bucket}} put in service"),
			series("sum by (bucket) (increase(fleet_operator_bucket_passed_messages_total[$__rate_interval]))", "{{bucket}} moved past a message"))).
		WithPanel(graph("Checkpoints", "Checkpoints of the fold, by result. One that failed costs nothing but time at the next start.", units.Short,
			series("sum by (result) (increase(fleet_operator_checkpoints_total[$__rate_interval]))", "{{result}}"))).
		WithPanel(figure("Another cluster's log", "Whether the log belongs to another cluster, so that nothing is decided.", units.Short, value("max(fleet_operator_cluster_mismatch)", "")).
			Mappings(yesNo("yes", red, "no", green)).Span(12).Height(high)).
		WithRow(dashboard.NewRowBuilder("Auth callout"))
	for _, p := range calloutPanels() {
		d = d.WithPanel(p)
	}
	d = d.WithRow(dashboard.NewRowBuilder("All agents together, by their pulses and the log"))
	for _, p := range agentsPanels() {
		d = d.WithPanel(p)
	}
	d = d.WithPanel(eventGrid("Events of access", "Whose access was revoked or allowed, and logins, newest first, from the log itself.", "type=access.&type=auth."))
	return d.WithRow(dashboard.NewRowBuilder("Processes")).
		WithPanel(graph("Memory", "Memory of each process of the platform.", units.BytesIEC, series(`process_resident_memory_bytes{job=~"fleet-(operator|callout)"}`, "{{job}} {{instance}}"))).
		WithPanel(graph("CPU", "Cores that each process of the platform uses.", units.Short, series(`rate(process_cpu_seconds_total{job=~"fleet-(operator|callout)"}[$__rate_interval])`, "{{job}} {{instance}}"))).
		WithPanel(graph("Goroutines", "Goroutines of each process of the platform.", units.Short, series(`go_goroutines{job=~"fleet-(operator|callout)"}`, "{{job}} {{instance}}"))).
		WithPanel(graph("Open files", "Open files of each process, as a share of what it may open.", units.PercentUnit,
			series(`process_open_fds{job=~"fleet-(operator|callout)"} / process_max_fds`, "{{job}} {{instance}}")))
}
