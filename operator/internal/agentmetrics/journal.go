package agentmetrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/fleet"
)

// Journal counts what agents write into the log, as it is folded.
type Journal struct {
	steps  *prometheus.CounterVec
	drifts *prometheus.CounterVec
	starts prometheus.Counter

	reasons reasons
}

var _ state.Witness = (*Journal)(nil)

// NewJournal registers its metrics.
func NewJournal(reg prometheus.Registerer) *Journal {
	const live = " What the log held when this replica began to follow it does not count."
	j := &Journal{
		reasons: reasons{},
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_device_steps_total",
			Help: "Steps that agents told the log of, by verb and by the reason of failure (empty: it succeeded)." + live,
		}, []string{"verb", "reason"}),
		drifts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fleet_device_drifts_total",
			Help: "Containers found otherwise than they were left, which agents told the log of, by reason." + live,
		}, []string{"reason"}),
		starts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fleet_device_agent_starts_total",
			Help: "Starts of agents that the log was told of." + live,
		}),
	}
	reg.MustRegister(j.steps, j.drifts, j.starts)
	return j
}

// Begun implements state.Witness.
func (*Journal) Begun(*fleet.View) {}

// Folded implements state.Witness.
func (j *Journal) Folded(_ *fleet.View, e eventlog.Event, live bool) {
	if !live {
		return
	}
	switch e.Type {
	case eventlog.AgentStarted:
		j.starts.Inc()
	case eventlog.AgentStepSucceeded, eventlog.AgentDriftRepaired, eventlog.AgentStepFailed, eventlog.AgentDriftDetected:
		s, err := eventlog.Payload[eventlog.Step](e)
		if err != nil {
			return
		}
		switch e.Type {
		case eventlog.AgentDriftDetected:
			j.drifts.WithLabelValues(j.reasons.label(s.Reason)).Inc()
		case eventlog.AgentStepFailed:
			j.steps.WithLabelValues(verb(s.Step), j.reasons.label(s.Reason)).Inc()
		default:
			for v := range strings.SplitSeq(s.Step, "+") {
				j.steps.WithLabelValues(verb(v), "").Inc()
			}
		}
	}
}

// other stands for what no agent of this release writes: a label has few values, whatever devices
// say.
const other = "Other"

// verb is that of a step as a label.
func verb(of string) string {
	switch of {
	case "pull", "create", "start", "stop", "remove":
		return of
	}
	return other
}

// mostReasons is how many reasons have a label value of their own.
const mostReasons = 64

// reasons are those that had one.
type reasons map[string]struct{}

// label is a reason as a label.
func (r reasons) label(reason string) string {
	if _, known := r[reason]; known {
		return reason
	}
	if reason == "" || len(reason) > 64 || len(r) == mostReasons {
		return other
	}
	for _, c := range reason {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return other
		}
	}
	r[reason] = struct{}{}
	return reason
}
