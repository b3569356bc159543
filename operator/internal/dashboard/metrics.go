package dashboard

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the dashboard measures.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_dashboard_requests_total", Help: "Requests for pages of the dashboard and their JSON, by page and by the code of the answer.",
		}, []string{"page", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fleet_dashboard_request_seconds", Help: "Time that a page of the dashboard took, until it was written.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10},
		}, []string{"page"}),
	}
	reg.MustRegister(m.requests, m.seconds)
	return m
}

func (m *metrics) answered(page string, code int, took time.Duration) {
	m.requests.WithLabelValues(page, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(page).Observe(took.Seconds())
}
