package kube

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what the operator writes to the Kubernetes API.
type Metrics struct{ writes *prometheus.CounterVec }

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{writes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fleet_operator_patches_total", Help: "Writes of CRs and their status, by kind.",
	}, []string{"kind"})}
	reg.MustRegister(m.writes)
	return m
}

// Written counts one write of a kind.
func (m *Metrics) Written(kind string) { m.writes.WithLabelValues(kind).Inc() }
