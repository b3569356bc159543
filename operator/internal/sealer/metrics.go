package sealer

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what a sealer measures.
type Metrics struct {
	sealed, lag, broken prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		sealed: gauge("fleet_operator_sealed_sequence", "Sequence of the log up to which the last seal covers it, as this replica last learned."),
		lag:    gauge("fleet_operator_seal_lag_events", "Messages of the log after the last seal, while this replica leads."),
		broken: gauge("fleet_operator_seal_broken", "1 once a seal contradicted the log, so that nothing is sealed any more: see fleetctl verify."),
	}
	reg.MustRegister(m.sealed, m.lag, m.broken)
	return m
}
