package agent

import (
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
)

// metricsOf makes a registry with what an agent has that had each trouble.
func metricsOf(t *testing.T) (*prometheus.Registry, func(name string, value float64, labels ...string)) {
	t.Helper()
	r := prometheus.NewRegistry()
	counters := map[string]*prometheus.GaugeVec{}
	return r, func(name string, value float64, labels ...string) {
		t.Helper()
		if counters[name] == nil {
			var names []string
			for i := 0; i < len(labels); i += 2 {
				names = append(names, labels[i])
			}
			counters[name] = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name}, names)
			r.MustRegister(counters[name])
		}
		var values []string
		for i := 1; i < len(labels); i += 2 {
			values = append(values, labels[i])
		}
		counters[name].WithLabelValues(values...).Set(value)
	}
}

func TestFiguresAreTheAgentsMetrics(t *testing.T) {
	t.Parallel()
	r, set := metricsOf(t)
	looks := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fleet_agent_observe_duration_seconds"})
	r.MustRegister(looks)
	f := newFigures(r, slog.New(slog.DiscardHandler))
	if got := f.read(); got.EngineDown || got.Observe != 0 || got.Run == 0 || got.Run >= 1<<53 {
		t.Errorf("before the first look at the containers: %+v", got)
	}
	set("fleet_agent_engine_up", 0)
	set("fleet_agent_outbox_events", 12)
	set("fleet_agent_drifts_total", 2, "reason", "Missing")
	set("fleet_agent_drifts_total", 3, "reason", "Changed")
	set("fleet_agent_health_checks_total", 100, "result", "passed")
	set("fleet_agent_health_checks_total", 4, "result", "failed")
	set("fleet_agent_messages_rejected_total", 5, "reason", "Old")
	set("fleet_agent_live_gaps_total", 6)
	set("fleet_agent_syncs_total", 70, "result", "Complete")
	set("fleet_agent_syncs_total", 7, "result", "NoAnswer")
	set("fleet_agent_report_retries_total", 8)
	set("fleet_agent_reports_refused_total", 9, "kind", "state")
	set("fleet_agent_journal_dropped_total", 10, "reason", "OverBudget")
	set("fleet_agent_token_refusals_total", 11)
	looks.Observe(0.25)
	looks.Observe(0.75)
	got := f.read()
	want := &eventlog.AgentFigures{
		Run: f.run, EngineDown: true, Observe: 500, Waiting: 12, Drifts: 5, FailedChecks: 4, Rejected: 5, LiveGaps: 6,
		FailedSyncs: 7, ReportRetries: 8, RefusedReports: 9, DroppedEvents: 10, RefusedTokens: 11,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	set("fleet_agent_engine_up", 1)
	looks.Observe(0.125)
	if got := f.read(); got.EngineDown || got.Observe != 125 {
		t.Errorf("with the next pulse: %+v, want the looks since the pulse before", got)
	}
}

// An agent that runs registers each metric that figures are read from.
func TestEachFigureIsOfAMetricThatAnAgentRegisters(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../deploy/grafana/promtest/testdata/registered.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Collect(maps.Keys(sums(&eventlog.AgentFigures{})))
	for _, name := range append(names, metricEngine, metricObserve) {
		if !strings.Contains(string(b), "fleet-agent "+name) {
			t.Errorf("no agent registers %s", name)
		}
	}
}
