package processmetrics_test

import (
	"testing"

	"fleet.nationtech.io/eventlog/processmetrics"
	"fleet.nationtech.io/eventlog/version"
)

func TestARegistryBeginsWithTheProcessAndItsBuild(t *testing.T) {
	t.Parallel()
	all, err := processmetrics.NewRegistry("fleet-test").Gather()
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{"go_goroutines": true, "process_cpu_seconds_total": true, processmetrics.BuildInfo: true}
	for _, m := range all {
		delete(missing, m.GetName())
		if m.GetName() != processmetrics.BuildInfo {
			continue
		}
		labels := map[string]string{}
		for _, l := range m.GetMetric()[0].GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["component"] != "fleet-test" || labels["version"] != version.Version || labels["go_version"] == "" {
			t.Errorf("the build is %v", labels)
		}
	}
	if len(missing) > 0 {
		t.Errorf("it lacks %v", missing)
	}
}
