package identity

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	refusals prometheus.Counter
	ends     prometheus.Gauge
	keyEnds  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_agent_token_requests_total",
			Help: "Times that the agent asked its provider for a token, by what came of it.",
		}, []string{"outcome"}),
		refusals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_agent_token_refusals_total",
			Help: "Times that a server of the bus refused the agent's token.",
		}),
		ends: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fleet_agent_token_expiry_timestamp_seconds",
			Help: "When the agent's token ends; 0 without one.",
		}),
		keyEnds: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fleet_agent_key_expires_timestamp_seconds",
			Help: "When the provider lets the device's key end; 0 where there is no key, or its file does not say.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.refusals, m.ends, m.keyEnds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of identity: %w", err)
		}
	}
	return m, nil
}
