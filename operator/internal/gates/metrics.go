package gates

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what an asker measures. Their label server has the names that the operator
// was given; what a spec names otherwise has no series.
type Metrics struct {
	queries *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// NewMetrics registers them, with a series for each result of each server.
func NewMetrics(reg prometheus.Registerer, servers []Server) *Metrics {
	m := &Metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_operator_gate_queries_total",
			Help: "Questions of gates to Prometheus servers, by server and result: value (it gave one number), no_value (none, several, NaN, infinite) or error (it did not answer, or refused).",
		}, []string{"server", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fleet_operator_gate_query_seconds", Help: "How long Prometheus servers took for the questions of gates.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"server"}),
	}
	reg.MustRegister(m.queries, m.seconds)
	for _, s := range servers {
		for _, r := range []result{gaveValue, noValue, failed} {
			m.queries.WithLabelValues(s.Name, string(r))
		}
		m.seconds.WithLabelValues(s.Name)
	}
	return m
}

func (m *Metrics) asked(server string, r result, took time.Duration) {
	m.queries.WithLabelValues(server, string(r)).Inc()
	m.seconds.WithLabelValues(server).Observe(took.Seconds())
}
