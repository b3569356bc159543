package grafana

import (
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"

	"fleet.nationtech.io/deploy/grafana/rules"
)

// objective are the panels of the objective of propagation, on which there are alerts.
func objective() []cog.Builder[dashboard.Panel] {
	slow := func(window string) string { return "1 - " + rules.InTime(window) }
	return []cog.Builder[dashboard.Panel]{
		figure("In time", fmt.Sprintf("The share of assignments to online devices that were running within %d s, in the time range. The objective is %g %%.", rules.Within, 100*rules.Objective),
			units.PercentUnit, value(rules.InTime("$__range"), "")).
			Decimals(2).Thresholds(steps(red, step{rules.Objective, green})).NoValue("no assignment").Span(12).Height(high),
		graph("Burn of the objective", "How many times faster than it may the budget of slow assignments is used up. Above 14.4 over an hour a person is called.", units.Short,
			series(fmt.Sprintf("(%s) / %g", slow("1h"), 1-rules.Objective), "over 1 hour"),
			series(fmt.Sprintf("(%s) / %g", slow("6h"), 1-rules.Objective), "over 6 hours")),
	}
}

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
