package grafana

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// speed are the panels of how long changes take.
func speed() []cog.Builder[dashboard.Panel] {
	return []cog.Builder[dashboard.Panel]{
		graph("From assignment to running", "How long devices that were online took, from the assignment in the log to their report that they run it.", units.Seconds, quantiles("fleet_assignment_running_seconds")...),
		graph("From kubectl apply to running", "How long a change took to each device, with all that its rollout waited for: soaks, approvals, budgets.", units.Seconds, quantiles("fleet_change_propagation_seconds")...),
		spread("Assignments by how long they took", "How many devices took how long from the assignment to running.", "sum by (le) (increase(fleet_assignment_running_seconds_bucket[$__rate_interval]))"),
		spread("Changes by how long they took", "How many devices ran a change how long after kubectl apply.", "sum by (le) (increase(fleet_change_propagation_seconds_bucket[$__rate_interval]))"),
	}
}

func quantiles(histogram string) []query {
	var all []query
	for _, q := range []struct{ of, name string }{{"0.5", "half"}, {"0.95", "95 of 100"}, {"0.99", "99 of 100"}} {
		all = append(all, series(fmt.Sprintf("histogram_quantile(%s, sum by (le) (rate(%s_bucket[$__rate_interval])))", q.of, histogram), q.name))
	}
	return all
}
