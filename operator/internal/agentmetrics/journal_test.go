package agentmetrics

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
)

func TestStepsAreCountedOutOfTheJournal(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	j := NewJournal(r)
	fold := func(typ eventlog.Type, live bool, s eventlog.Step) {
		t.Helper()
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		j.Folded(nil, eventlog.Event{Type: typ, Version: 1, Data: data}, live)
	}
	fold(eventlog.AgentStarted, true, eventlog.Step{})
	fold(eventlog.AgentStarted, false, eventlog.Step{})
	fold(eventlog.AgentStepSucceeded, true, eventlog.Step{Step: "pull+create+start", Reason: "New"})
	fold(eventlog.AgentStepSucceeded, false, eventlog.Step{Step: "pull"})
	fold(eventlog.AgentStepFailed, true, eventlog.Step{Step: "pull", Reason: "ImageNotFound"})
	fold(eventlog.AgentStepFailed, true, eventlog.Step{Step: "brew", Reason: `a reason of "its" own`})
	fold(eventlog.AgentDriftDetected, true, eventlog.Step{Step: "start", Reason: "Stopped"})
	fold(eventlog.AgentDriftRepaired, true, eventlog.Step{Step: "start", Reason: "Stopped"})
	fold(eventlog.DeviceOnline, true, eventlog.Step{Step: "pull"})
	want := map[string]float64{
		"fleet_device_agent_starts_total": 1, "fleet_device_drifts_total Stopped": 1,
		"fleet_device_steps_total  pull": 1, "fleet_device_steps_total  create": 1, "fleet_device_steps_total  start": 2,
		"fleet_device_steps_total ImageNotFound pull": 1, "fleet_device_steps_total Other Other": 1,
	}
	if diff := cmp.Diff(want, counters(t, r)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDevicesMakeNoLabelsWithoutEnd(t *testing.T) {
	t.Parallel()
	r := reasons{}
	seen := map[string]bool{}
	for i := range 5000 {
		seen[r.label(fmt.Sprintf("Reason%c%c%c", 'A'+i%26, 'A'+i/26%26, 'A'+i/676))] = true
	}
	if len(seen) != mostReasons+1 {
		t.Errorf("%d label values, want %d and Other", len(seen), mostReasons)
	}
	versions := map[string]int{"0.2.0": 50, "0.1.0": 40, "": 3}
	for i := range 100 {
		versions[fmt.Sprint("mine-", i)] = 1
	}
	got := few(versions, 20)
	devices := 0
	for _, n := range got {
		devices += n
	}
	if len(got) > 21 || got["0.2.0"] != 50 || got["0.1.0"] != 40 || got[other] < 3 || devices != 193 {
		t.Errorf("%d versions of %d devices: %v", len(got), devices, got)
	}
}

func counters(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue()
		}
	}
	return all
}
