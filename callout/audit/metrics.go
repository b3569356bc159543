package audit

import "github.com/prometheus/client_golang/prometheus"

// Metrics of what is recorded.
type Metrics struct {
	events *prometheus.CounterVec
	lost   prometheus.Counter
}

// NewMetrics registers the metrics; a nil registry leaves them unregistered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_callout_events_total",
			Help: "Events of logins appended to the log, by result: granted, denied, failed.",
		}, []string{"result"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_callout_events_not_told_apart_total",
			Help: "Logins that were not recorded under their own subject, as there were too many at once.",
		}),
	}
	if r != nil {
		r.MustRegister(m.events, m.lost)
	}
	return m
}

func (m *Metrics) appended(result string) { m.events.WithLabelValues(result).Inc() }
