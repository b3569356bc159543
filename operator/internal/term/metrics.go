package term

import (
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
)

// Metrics are what the terms of a replica measure.
type Metrics struct {
	appends  *prometheus.CounterVec
	leader   prometheus.Gauge
	mismatch prometheus.Gauge
	full     prometheus.Gauge
	reserve  prometheus.Gauge
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		appends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_operator_appends_total", Help: "Events appended to the log, by type.",
		}, []string{"type"}),
		leader:   gauge("fleet_operator_leader", "1 while this replica leads."),
		mismatch: gauge("fleet_operator_cluster_mismatch", "1 while the log belongs to another cluster, so that nothing is decided."),
		full:     gauge("fleet_operator_log_full", "1 while the log takes no more events."),
		reserve:  gauge("fleet_operator_log_reserve_open", "1 while the log lives on its reserve, the last tenth of its size: raise --log-max-bytes."),
	}
	reg.MustRegister(m.appends, m.leader, m.mismatch, m.full, m.reserve)
	return m
}

func (m *Metrics) appended(drafts []eventlog.Draft) {
	types := map[eventlog.Type]int{}
	for i := range drafts {
		types[drafts[i].Type]++
	}
	for t, n := range types {
		m.appends.WithLabelValues(string(t)).Add(float64(n))
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
