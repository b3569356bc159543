package dev

import (
	"strings"
	"testing"
)

// unitOf gives the unit of a metric. Names end in their unit, by Prometheus' conventions; a
// metric without one counts, or says yes or no, which its help then begins with.
func unitOf(name, help string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, u := range []struct{ ends, unit string }{
		{"_timestamp_seconds", "seconds since 1970"},
		{"_seconds", "seconds"},
		{"_bytes_ratio", "ratio"},
		{"_ratio", "ratio"},
		{"_bytes", "bytes"},
		{"_sequence", "sequence"},
		{"_devices", "devices"},
		{"_events", "events"},
		{"_revision", "revision"},
		{"_batch", "number"},
	} {
		if strings.HasSuffix(name, u.ends) {
			return u.unit
		}
	}
	if strings.HasPrefix(help, "1 while ") || strings.HasPrefix(help, "1 once ") || strings.HasPrefix(help, "1 for ") || strings.HasPrefix(help, "1, with ") {
		return "0 or 1"
	}
	return "count"
}

func TestTheUnitOfAMetricIsInItsNameOrItsHelp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ help, want string }{
		"fleet_operator_fold_lag_seconds":            {"Age.", "seconds"},
		"fleet_rollout_wait_seconds_total":           {"Time.", "seconds"},
		"fleet_agent_token_expiry_timestamp_seconds": {"When.", "seconds since 1970"},
		"fleet_operator_log_bytes":                   {"Size.", "bytes"},
		"fleet_operator_log_bytes_ratio":             {"Share.", "ratio"},
		"fleet_operator_folded_sequence":             {"Sequence.", "sequence"},
		"fleet_operator_leader":                      {"1 while this replica leads.", "0 or 1"},
		"fleet_operator_devices":                     {"Registered devices.", "devices"},
		"fleet_rollout_events_total":                 {"Events.", "events"},
		"fleet_operator_assignments":                 {"Deployments.", "count"},
	} {
		if got := unitOf(name, c.help); got != c.want {
			t.Errorf("the unit of %s is %q, want %q", name, got, c.want)
		}
	}
}
