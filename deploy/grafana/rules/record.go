package rules

import "fmt"

// The objective of propagation: of the assignments to devices that are online,
// Objective are running within Within.
const (
	Objective = 0.99
	Within    = 300 // seconds; a bucket of fleet_assignment_running_seconds
)

// windows are those over which the share of slow assignments is recorded.
var windows = []string{"5m", "30m", "1h", "6h", "3d"}

// slowShare is the record of the share of slow assignments over a window.
func slowShare(window string) string {
	return "fleet:assignment_running_slow:ratio_rate" + window
}

// records are what alerts and long time ranges are built of. Each replica of the
// operator folds the whole log and says the same, so a record takes the highest over
// replicas; a share of rates is the same over one replica and over several.
func records() []Rule {
	all := []Rule{
		{
			Record: "fleet:devices_online:ratio",
			Expr:   `max(fleet_operator_devices{online="True"}) / (sum(max by (online) (fleet_operator_devices)) > 0)`,
		},
		{
			Record: "deployment:fleet_rollout_devices_healthy:ratio",
			Expr: `max by (deployment_namespace, deployment_name) (fleet_rollout_devices{standing="healthy"})
/ (sum by (deployment_namespace, deployment_name) (max by (deployment_namespace, deployment_name, standing) (fleet_rollout_devices)) > 0)`,
		},
	}
	for _, w := range windows {
		all = append(all, Rule{Record: slowShare(w), Expr: "1 - " + InTime(w)})
	}
	return all
}

// InTime is the share of assignments that were running within the objective's time,
// over a window. Prometheus 3 writes the bound of a bucket as 300.0, Prometheus 2 as 300.
func InTime(window string) string {
	return fmt.Sprintf(`sum(rate(fleet_assignment_running_seconds_bucket{le=~"%d(\\.0)?"}[%s])) / (sum(rate(fleet_assignment_running_seconds_count[%s])) > 0)`,
		Within, window, window)
}
