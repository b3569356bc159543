package syncsvc

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Results that are not reasons of the wire.
const (
	resultComplete = "Complete"
	resultInvalid  = "Invalid"
)

type metrics struct {
	answers *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_operator_sync_answers_total",
			Help: "Answers to devices that asked for their desired state, by result.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fleet_operator_sync_answer_seconds",
			Help:    "Time to gather and send a complete answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
	}
	if r != nil {
		r.MustRegister(m.answers, m.seconds)
	}
	return m
}

func (m metrics) answered(result string) { m.answers.WithLabelValues(result).Inc() }

func (m metrics) took(d time.Duration) { m.seconds.Observe(d.Seconds()) }
