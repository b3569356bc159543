package token

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the dealings with the provider.
type Metrics struct {
	requests *prometheus.CounterVec
	count    prometheus.Gauge
	readAt   atomic.Int64 // Unix nanoseconds; 0: never
}

// NewMetrics registers the metrics; a nil registry leaves them unregistered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_callout_provider_requests_total",
			Help: "Requests to the identity provider, by endpoint (keys, introspection) and result (ok, failed).",
		}, []string{"endpoint", "result"}),
		count: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fleet_callout_provider_keys",
			Help: "Usable signing keys of the identity provider.",
		}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.count, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fleet_callout_provider_keys_read_timestamp_seconds",
			Help: "When the identity provider's keys were last read; 0 where they never were.",
		}, func() float64 { return float64(m.readAt.Load()) / float64(time.Second) }))
	}
	return m
}

func (m *Metrics) asked(endpoint string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.requests.WithLabelValues(endpoint, result).Inc()
}

func (m *Metrics) keys(n int, read time.Time) {
	m.count.Set(float64(n))
	m.readAt.Store(read.UnixNano())
}
