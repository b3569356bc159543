package checkpointer

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what a checkpointer measures.
type Metrics struct {
	saved, failed prometheus.Counter
	last          prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	results := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fleet_operator_checkpoints_total",
		Help: "Checkpoints of the fold, by result: saved or failed. One that failed costs nothing but time at the next start.",
	}, []string{"result"})
	m := &Metrics{
		saved: results.WithLabelValues("saved"), failed: results.WithLabelValues("failed"),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fleet_operator_checkpoint_last_sequence",
			Help: "Sequence of the log at the newest checkpoint that this replica saved or found.",
		}),
	}
	reg.MustRegister(results, m.last)
	return m
}
