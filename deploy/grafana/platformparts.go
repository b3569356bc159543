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
		figure("Behind the events of access", "Age that an event of access may have which a replica has not read: revocations.", units.Seconds,
			value("max(fleet_callout_access_lag_seconds)", "")).Thresholds(steps(green, step{60, yellow}, step{600, red})).Span(6),
		figure("Revoked identities", "Identities whose access is revoked.", units.Short, value("max(fleet_callout_revoked_identities)", "")).Thresholds(steps(green, step{1, yellow})).Span(6),
		graph("Connections of identities", "Open connections of identities, as servers tell of them, and connections that the callout had servers end.", units.Short,
			series("max(fleet_callout_identity_connections)", "open"),
			series("sum by (cause) (increase(fleet_callout_connections_ended_total[$__rate_interval]))", "ended: {{cause}}")),
		graph("Events of logins", "Events of logins that the callout appended to the log, by result; and logins that were not recorded under their own subject.", units.EventsPerSecond,
			series("sum by (result) (rate(fleet_callout_events_total[$__rate_interval]))", "{{result}}"),
			series("sum(rate(fleet_callout_events_not_told_apart_total[$__rate_interval]))", "not told apart")),
	}
}

// agentsPanels are of all agents together. What they count comes with their pulses, and what they
// did out of the log: no agent is scraped for it.
func agentsPanels() []cog.Builder[dashboard.Panel] {
	return []cog.Builder[dashboard.Panel]{
		figure("Agents heard", "Agents whose pulse the operator heard within three pulses.", units.Short, value("max(sum by (instance) (fleet_agents_heard))", "")).Thresholds(steps(blue)).Span(6),
		figure("Silent container engines", "Agents whose Podman does not answer: nothing changes on those devices.", units.Short, value("max(fleet_agents_engines_down)", "")).Thresholds(badAbove(1)).Span(6),
		figure("Wrong clocks", "Agents whose clock is more than 5 seconds off the NATS servers'.", units.Short, value("max(fleet_agents_clocks_off)", "")).Thresholds(badAbove(1)).Span(6),
		figure("Events that wait on devices", "Events of journals that wait for the log: devices cannot report.", units.Short, value("max(fleet_agents_waiting_events)", "")).Thresholds(steps(green, step{1000, yellow})).Span(6),
		graph("Troubles", "What went wrong for agents and they went on from by themselves, by kind: docs/metrics.md says what to do about each.", units.EventsPerSecond,
			series("max by (kind) (rate(fleet_agents_troubles_total[$__rate_interval])) > 0", "{{kind}}")),
		graph("Steps that failed", "Steps of agents that failed, by verb and reason, out of the log.", units.EventsPerSecond,
			series(`max by (verb, reason) (rate(fleet_device_steps_total{reason!=""}[$__rate_interval]))`, "{{verb}} {{reason}}")),
		graph("Steps", "Steps of agents, by verb, out of the log; and starts of agents.", units.EventsPerSecond,
			series("sum by (verb) (max by (verb, reason) (rate(fleet_device_steps_total[$__rate_interval])))", "{{verb}}"),
			series("max(rate(fleet_device_agent_starts_total[$__rate_interval]))", "starts of agents")),
		graph("Time to list containers", "How long agents take to list their containers, on average: Podman's load.", units.Seconds,
			series("max(rate(fleet_agents_observe_seconds_sum[$__rate_interval]) / (rate(fleet_agents_observe_seconds_count[$__rate_interval]) > 0))", "average")),
	}
}
