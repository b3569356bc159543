package grafana

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// calloutPanels are of what decides logins.
func calloutPanels() []cog.Builder[dashboard.Panel] {
	return []cog.Builder[dashboard.Panel]{
		graph("Logins", "Answers to logins, by reason: Granted, or why a login was refused.", units.EventsPerSecond,
			series("sum by (reason) (rate(fleet_callout_decisions_total[$__rate_interval])) > 0", "{{reason}}")),
		graph("Time of a decision", "Time from the arrival of a request to its answer.", units.Seconds,
			series("histogram_quantile(0.5, sum by (le) (rate(fleet_callout_decision_seconds_bucket[$__rate_interval])))", "half"),
			series("histogram_quantile(0.99, sum by (le) (rate(fleet_callout_decision_seconds_bucket[$__rate_interval])))", "99 of 100")),
		graph("Requests without an answer", "Requests that were dropped, by cause, and self checks that failed.", units.EventsPerSecond,
			series("sum by (cause) (rate(fleet_callout_requests_dropped_total[$__rate_interval]))", "dropped: {{cause}}"),
			series("sum(rate(fleet_callout_self_checks_failed_total[$__rate_interval]))", "self check failed")),
		graph("Requests that wait", "Requests that wait for a worker or for the identity provider.", units.Short,
			series("sum by (queue) (fleet_callout_queued_requests)", "{{queue}}")),
		timeline("Takes requests", "Which replicas of the callout take requests, over time.", yesNo("takes requests", green, "does not", red),
			series("fleet_callout_subscribed", "{{instance}}")),
		graph("Identity provider", "Requests to the identity provider, by endpoint and result.", units.EventsPerSecond,
			series("sum by (endpoint, result) (rate(fleet_callout_provider_requests_total[$__rate_interval]))", "{{endpoint}} {{result}}")),
		figure("Provider's keys", "Usable signing keys of the identity provider.", units.Short, value("min(fleet_callout_provider_keys)", "")).Thresholds(steps(red, step{1, green})).Span(6),
		figure("Keys read", "How long ago the provider's keys were last read.", units.Seconds, value("time() - min(fleet_callout_provider_keys_read_timestamp_seconds > 0)", "")).
			Thresholds(steps(green, step{3600, yellow}, step{86400, red})).NoValue("never").Span(6),
		figure("Access read", "How long ago a replica last knew that it had read all events of access.", units.Seconds,
			value("time() - min(fleet_callout_access_read_timestamp_seconds > 0)", "")).Thresholds(steps(green, step{60, yellow}, step{600, red})).NoValue("never").Span(6),
		figure("Revoked identities", "Identities whose access is revoked.", units.Short, value("max(fleet_callout_revoked_identities)", "")).Thresholds(steps(green, step{1, yellow})).Span(6),
		graph("Connections of identities", "Open connections of identities, as servers tell of them, and connections that the callout had servers end.", units.Short,
			series("max(fleet_callout_identity_connections)", "open"),
			series("sum by (cause) (increase(fleet_callout_connections_ended_total[$__rate_interval]))", "ended: {{cause}}")),
		graph("Events of logins", "Events of logins that the callout appended to the log, by result; and logins that were not recorded under their own subject.", units.EventsPerSecond,
			series("sum by (result) (rate(fleet_callout_events_total[$__rate_interval]))", "{{result}}"),
			series("sum(rate(fleet_callout_events_not_told_apart_total[$__rate_interval]))", "not told apart")),
	}
}

// agentsPanels are of all agents together that Prometheus scrapes.
func agentsPanels() []cog.Builder[dashboard.Panel] {
	return []cog.Builder[dashboard.Panel]{
		figure("Agents", "Agents that Prometheus scrapes.", units.Short, value("count(fleet_agent_engine_up)", "")).Thresholds(steps(blue)).Span(6),
		figure("Silent container engines", "Agents whose Podman does not answer.", units.Short, value("count(fleet_agent_engine_up == 0) or vector(0)", "")).Thresholds(badAbove(1)).Span(6),
		figure("Failed Deployments", "Deployments that are failed on these agents.", units.Short, value(`sum(fleet_agent_deployments{phase="Failed"})`, "")).Thresholds(badAbove(1)).Span(6),
		figure("Tokens that end within 10 minutes", "Agents whose token ends soon: they should have renewed it.", units.Short,
			value("count((fleet_agent_token_expiry_timestamp_seconds > 0) - time() < 600) or vector(0)", "")).Thresholds(badAbove(1)).Span(6),
		graph("Reports of agents", "Messages of agents that the log acknowledged, by kind, and that it refused.", units.EventsPerSecond,
			series("sum by (kind) (rate(fleet_agent_reports_total[$__rate_interval]))", "{{kind}}"),
			series("sum by (kind) (rate(fleet_agent_reports_refused_total[$__rate_interval]))", "{{kind}} refused")),
		graph("Steps that failed", "Steps of agents that failed, by verb and reason.", units.EventsPerSecond,
			series(`sum by (verb, reason) (rate(fleet_agent_steps_total{reason!=""}[$__rate_interval]))`, "{{verb}} {{reason}}")),
	}
}
