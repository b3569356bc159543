package session

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
)

// Results of a question that are no reasons of the answering side.
const (
	resultComplete   = "Complete"
	resultNoAnswer   = "NoAnswer"
	resultIncomplete = "Incomplete"
	resultBehind     = "Behind"
	resultRefused    = "Refused"
)

// refusal bounds what the answering side can make the metric say.
func refusal(reason string) string {
	switch reason {
	case eventlog.SyncRebuilding, eventlog.SyncNotReady, eventlog.SyncRestored:
		return reason
	}
	return resultRefused
}

type metrics struct {
	syncs *prometheus.CounterVec
	live  prometheus.Counter
	gaps  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_agent_syncs_total",
			Help: "Questions for the whole desired state, by what came of them.",
		}, []string{"result"}),
		live: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_agent_live_values_total",
			Help: "Desired values that came as they changed.",
		}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_agent_live_gaps_total",
			Help: "Times that a live value showed that another had been missed.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.syncs, m.live, m.gaps} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the session's metrics: %w", err)
		}
	}
	return m, nil
}
