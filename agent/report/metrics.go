package report

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Why an event of the journal was not sent.
const (
	droppedBudget = "OverBudget" // the device said more than it may
	droppedFull   = "OutboxFull" // too many waited for a network
	droppedStore  = "StoreFailed"
)

// Kinds of messages to the log.
const (
	kindInfo    = "info"
	kindState   = "state"
	kindJournal = "journal"
)

type metrics struct {
	sent    *prometheus.CounterVec
	refused *prometheus.CounterVec
	retries prometheus.Counter
	dropped *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_agent_reports_total", Help: "Messages that the log acknowledged, by kind.",
		}, []string{"kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_agent_reports_refused_total", Help: "Messages that the log will never take, by kind.",
		}, []string{"kind"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_agent_report_retries_total", Help: "Tries that got no acknowledgement.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_agent_journal_dropped_total", Help: "Events of the journal that were not sent, by the reason.",
		}, []string{"reason"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.sent, m.refused, m.retries, m.dropped} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the reporter's metrics: %w", err)
		}
	}
	return m, nil
}
