package logins

import "github.com/prometheus/client_golang/prometheus"

// Results of logins.
const (
	resultLetIn   = "let_in"
	resultRefused = "refused" // by the auth callout
	resultFailed  = "failed"  // the servers did not answer
	resultBusy    = "busy"    // there were too many
)

type metrics struct {
	connections prometheus.Gauge
	logins      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fleet_dashboard_connections", Help: "Connections to NATS in the names of persons at the dashboard.",
		}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_dashboard_logins_total", Help: "Logins to NATS in the names of persons at the dashboard, by result: let_in, refused, failed, busy.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.connections, m.logins)
	for _, r := range []string{resultLetIn, resultRefused, resultFailed, resultBusy} {
		m.logins.WithLabelValues(r)
	}
	return m
}
