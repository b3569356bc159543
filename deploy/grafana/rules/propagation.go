package rules

import "fmt"

// propagationAlerts fire where the budget of slow assignments burns too fast. Each
// looks at a long window, so that it is worth a person's time, and at a short one, so
// that it ends soon after the trouble does.
func propagationAlerts() []alert {
	burns := func(rate float64, long, short string) string {
		return fmt.Sprintf("%s > %g and %s > %g", slowShare(long), rate*(1-Objective), slowShare(short), rate*(1-Objective))
	}
	const act = "Look at the dashboards Fleet and Platform: whether devices lost their network, images are slow to pull, or the operator is behind the log. fleetctl explain device/ID says why one device does not run what it should."
	return []alert{
		{
			name: "FleetPropagationBurnsFast", severity: Critical, lasts: "2m",
			expr:    burns(14.4, "1h", "5m") + "\nor " + burns(6, "6h", "30m"),
			summary: "{{ $value | humanizePercentage }} of assignments to online devices take longer than 5 minutes; the objective is 1%.",
			act:     act,
		},
		{
			name: "FleetPropagationBurnsSlowly", severity: Warning, lasts: "15m",
			expr:    burns(1, "3d", "6h"),
			summary: "For 3 days {{ $value | humanizePercentage }} of assignments to online devices have taken longer than 5 minutes; the objective is 1%.",
			act:     act,
		},
	}
}
