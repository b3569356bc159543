package eventsapi

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the API measures.
type metrics struct {
	requests *prometheus.CounterVec
	events   prometheus.Counter
	seconds  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_events_api_requests_total", Help: "Requests to /api/v1/events, by the code of the answer.",
		}, []string{"code"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_events_api_events_total", Help: "Events that /api/v1/events gave.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fleet_events_api_request_seconds", Help: "Time that a request to /api/v1/events took, until its answer was written.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10},
		}),
	}
	reg.MustRegister(m.requests, m.events, m.seconds)
	return m
}

func (m *metrics) answered(code, events int, took time.Duration) {
	m.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	m.events.Add(float64(events))
	m.seconds.Observe(took.Seconds())
}
