package traces

import "github.com/prometheus/client_golang/prometheus"

// Why spans are dropped.
const (
	droppedQueueFull    = "queue_full"
	droppedExportFailed = "export_failed"
	droppedTooMany      = "too_many_assignments"
)

// Metrics say what becomes of spans.
type Metrics struct {
	exported prometheus.Counter
	dropped  *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		exported: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_trace_spans_exported_total", Help: "Spans that the trace collector took.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_trace_spans_dropped_total",
			Help: "Spans that were dropped: the queue was full (queue_full), the collector did not take them (export_failed), or a replica follows too many assignments at a time (too_many_assignments).",
		}, []string{"reason"}),
	}
	for _, reason := range []string{droppedQueueFull, droppedExportFailed, droppedTooMany} {
		m.dropped.WithLabelValues(reason)
	}
	r.MustRegister(m.exported, m.dropped)
	return m
}
