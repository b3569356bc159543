package agent

import (
	"log/slog"
	"math/rand/v2"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"fleet.nationtech.io/eventlog"
)

// figures reads out of the agent's own metrics what goes with the pulse, so that a fleet's
// figures reach the operator without a scrape of each device.
type figures struct {
	metrics *prometheus.Registry // of this agent alone
	run     uint64
	logger  *slog.Logger

	mu       sync.Mutex
	observed observed // as of the pulse before
}

// observed is how long looks at the containers took, all together.
type observed struct {
	seconds float64
	looks   uint64
}

func newFigures(metrics *prometheus.Registry, logger *slog.Logger) *figures {
	return &figures{metrics: metrics, run: rand.Uint64N(1<<53-1) + 1, logger: logger}
}

// read gives the figures of now; nil where the metrics cannot be read.
func (f *figures) read() *eventlog.AgentFigures {
	families, err := f.metrics.Gather()
	if err != nil {
		f.logger.Debug("the agent's figures cannot be read; the pulse goes without them", "error", err)
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	out, now := figuresOf(families, f.observed)
	f.observed = now
	out.Run = f.run
	return &out
}

// metricEngine and metricObserve are what is not a mere sum.
const (
	metricEngine  = "fleet_agent_engine_up"
	metricObserve = "fleet_agent_observe_duration_seconds"
)

// sums are the figures that are sums of a metric's values.
func sums(out *eventlog.AgentFigures) map[string]func(*dto.MetricFamily) {
	total := func(into *uint64) func(*dto.MetricFamily) {
		return func(f *dto.MetricFamily) { *into = sum(f, "", "") }
	}
	return map[string]func(*dto.MetricFamily){
		"fleet_agent_outbox_events":           total(&out.Waiting),
		"fleet_agent_drifts_total":            total(&out.Drifts),
		"fleet_agent_messages_rejected_total": total(&out.Rejected),
		"fleet_agent_live_gaps_total":         total(&out.LiveGaps),
		"fleet_agent_report_retries_total":    total(&out.ReportRetries),
		"fleet_agent_reports_refused_total":   total(&out.RefusedReports),
		"fleet_agent_journal_dropped_total":   total(&out.DroppedEvents),
		"fleet_agent_token_refusals_total":    total(&out.RefusedTokens),
		"fleet_agent_health_checks_total":     func(f *dto.MetricFamily) { out.FailedChecks = sum(f, "result", "failed") },
		"fleet_agent_syncs_total":             func(f *dto.MetricFamily) { out.FailedSyncs = sum(f, "", "") - sum(f, "result", "Complete") },
	}
}

// figuresOf picks the figures out of the agent's metrics. before is what was observed until the
// pulse before.
func figuresOf(families []*dto.MetricFamily, before observed) (out eventlog.AgentFigures, now observed) {
	up, of := false, sums(&out)
	for _, f := range families {
		switch name := f.GetName(); name {
		case metricEngine:
			up = sum(f, "", "") > 0
		case metricObserve:
			for _, m := range f.GetMetric() {
				now = observed{m.GetHistogram().GetSampleSum(), m.GetHistogram().GetSampleCount()}
			}
		default:
			if take := of[name]; take != nil {
				take(f)
			}
		}
	}
	if looks := now.looks - before.looks; looks > 0 {
		out.Observe = uint64(max(0, 1000*(now.seconds-before.seconds)/float64(looks)))
	}
	out.EngineDown = now.looks > 0 && !up
	return out, now
}

// sum adds up the values of a counter or a gauge; of those with a label, where one is named.
func sum(f *dto.MetricFamily, label, value string) uint64 {
	total := 0.0
	for _, m := range f.GetMetric() {
		if label == "" || labelOf(m, label) == value {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return uint64(max(0, total))
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// both registers metrics in two registries.
type both struct{ one, other prometheus.Registerer }

var _ prometheus.Registerer = both{}

// Register implements prometheus.Registerer.
func (b both) Register(c prometheus.Collector) error {
	if err := b.one.Register(c); err != nil {
		return err
	}
	return b.other.Register(c)
}

// MustRegister implements prometheus.Registerer.
func (b both) MustRegister(all ...prometheus.Collector) {
	b.one.MustRegister(all...)
	b.other.MustRegister(all...)
}

// Unregister implements prometheus.Registerer.
func (b both) Unregister(c prometheus.Collector) bool {
	one, other := b.one.Unregister(c), b.other.Unregister(c)
	return one || other
}
