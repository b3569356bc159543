package action

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/operator/resource"
)

// metrics are what is measured of actions.
type metrics struct{ actions *prometheus.CounterVec }

// Results of an action, as the metric has them.
const (
	resultAppended   = "appended"
	resultAnswered   = "answered"   // by the device
	resultSilent     = "silent"     // no answer came from the device
	resultNoOrigin   = "no_origin"  // the form does not say which page it comes from
	resultForbidden  = "forbidden"  // the person may not
	resultInvalid    = "invalid"    // the form was not filled in
	resultTooMany    = "too_many"   // the person asked too often
	resultImpossible = "impossible" // it is so already
	resultUncertain  = "uncertain"  // the servers did not acknowledge it
	resultFailed     = "failed"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_dashboard_actions_total", Help: "Actions that persons asked for at the dashboard, by verb and by what became of them: appended to the log (the operator may still refuse it), answered or silent (ping), or why not.",
		}, []string{"verb", "result"}),
	}
	reg.MustRegister(m.actions)
	return m
}

func (m *metrics) asked(action, result string) {
	if !slices.Contains(resource.ActionNames(), action) {
		action = "unknown" // anybody can send any
	}
	m.actions.WithLabelValues(action, result).Inc()
}
