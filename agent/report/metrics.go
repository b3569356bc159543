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

func newMetrics(r prometheus.Registerer, s Store) (*metrics, error) {
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
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "fleet_agent_outbox_events", Help: "Events of the journal that wait for the log.",
	}, func() float64 {
		n, err := s.Waiting()
		if err != nil { // the agent ends, or its disk fails: both are told elsewhere
			return 0
		}
		return float64(n)
	})
	for _, c := range []prometheus.Collector{m.sent, m.refused, m.retries, m.dropped, waiting} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the reporter's metrics: %w", err)
		}
	}
	return m, nil
}
