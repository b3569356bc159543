package reconcile

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
)

type metrics struct {
	observe     prometheus.Histogram
	engineUp    prometheus.Gauge
	steps       *prometheus.CounterVec
	drifts      *prometheus.CounterVec
	checks      *prometheus.CounterVec
	deployments *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		observe: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fleet_agent_observe_duration_seconds", Help: "Time to list this device's containers.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 12),
		}),
		engineUp: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fleet_agent_engine_up", Help: "1 while the container engine answers.",
		}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_agent_steps_total", Help: "Steps performed, by verb and by the reason of failure (empty: it succeeded).",
		}, []string{"verb", "reason"}),
		drifts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_agent_drifts_total", Help: "Containers found otherwise than they were left, by reason.",
		}, []string{"reason"}),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_agent_health_checks_total", Help: "Health checks made, by result.",
		}, []string{"result"}),
		deployments: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fleet_agent_deployments", Help: "Deployments on this device, by phase.",
		}, []string{"phase"}),
	}
	for _, c := range []prometheus.Collector{m.observe, m.engineUp, m.steps, m.drifts, m.checks, m.deployments} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the reconciler's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observed(took time.Duration, err error) {
	m.observe.Observe(took.Seconds())
	if err != nil {
		m.engineUp.Set(0)
		return
	}
	m.engineUp.Set(1)
}

func (m *metrics) step(verb, reason string) { m.steps.WithLabelValues(verb, reason).Inc() }

func (m *metrics) drift(reason string) { m.drifts.WithLabelValues(reason).Inc() }

func (m *metrics) check(passed bool) {
	result := "failed"
	if passed {
		result = "passed"
	}
	m.checks.WithLabelValues(result).Inc()
}

func (m *metrics) phases(count map[eventlog.Phase]int) {
	for _, p := range []eventlog.Phase{eventlog.PhasePending, eventlog.PhaseRunning, eventlog.PhaseFailed} {
		m.deployments.WithLabelValues(string(p)).Set(float64(count[p]))
	}
}
