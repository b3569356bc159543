package responder

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/callout/refusal"
)

// Metrics of the answers.
type Metrics struct {
	registry   prometheus.Registerer
	decisions  *prometheus.CounterVec
	seconds    prometheus.Histogram
	dropped    *prometheus.CounterVec
	subscribed prometheus.Gauge
	failed     prometheus.Counter
}

// NewMetrics registers the metrics; a nil registry leaves them unregistered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		registry: r,
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_callout_decisions_total",
			Help: "Answers to auth callout requests, by reason: Granted, or why the login was refused.",
		}, []string{"reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fleet_callout_decision_seconds",
			Help:    "Time from the arrival of a request to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 1.5},
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_callout_requests_dropped_total",
			Help: "Requests that were not answered, by cause: deadline passed, queue full, not ours.",
		}, []string{"cause"}),
		subscribed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fleet_callout_subscribed",
			Help: "1 while the replica takes requests.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_callout_self_checks_failed_total",
			Help: "Times that the replica did not answer itself in time.",
		}),
	}
	for _, reason := range refusal.Reasons() {
		m.decisions.WithLabelValues(string(reason))
	}
	m.decisions.WithLabelValues(granted)
	if r != nil {
		r.MustRegister(m.decisions, m.seconds, m.dropped, m.subscribed, m.failed)
	}
	return m
}

const granted = "Granted"

func (m *Metrics) decided(reason string, arrived, now time.Time) {
	m.decisions.WithLabelValues(reason).Inc()
	m.seconds.Observe(now.Sub(arrived).Seconds())
}

// watch registers the lengths of a responder's queues.
func (m *Metrics) watch(queues map[string]*queue) {
	if m.registry == nil {
		return
	}
	for name, q := range queues {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "fleet_callout_queued_requests",
			Help:        "Requests that wait, by what they wait for: a worker (decision) or the identity provider (provider).",
			ConstLabels: prometheus.Labels{"queue": name},
		}, func() float64 { return float64(q.length()) }))
	}
}
