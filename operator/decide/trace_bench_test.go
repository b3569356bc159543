package decide_test

import (
	"fmt"
	"testing"

	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/operator/decide"
)

// BenchmarkTracing measures what the trace of each event costs a decision that assigns a
// Deployment to 2,000 devices: with it, and without.
func BenchmarkTracing(b *testing.B) {
	const devices, rounds = 2000, 15
	turn := func(name string, on bool) benchtest.Turn {
		var w *world
		var in decide.Input
		return benchtest.Turn{Name: name, Prepare: func(int) {
			w = newWorld(b)
			w.SetTracing(on)
			for n := range devices {
				w.settle(w.label(fmt.Sprintf("d-%04d", n), "site", "lab"))
			}
			in = w.put(cr("shop", "web", "app:1", lab))
			for range 2 { // applied, started
				due, err := decide.Decide(w.State, in, now)
				if err != nil {
					b.Fatal(err)
				}
				w.append(due...)
			}
		}, Run: func() {
			due, err := decide.Decide(w.State, in, now)
			if err != nil || len(due) != devices {
				b.Fatalf("%d events are due: %v", len(due), err)
			}
		}}
	}
	samples := benchtest.Alternate(b, rounds, turn("with traces", true), turn("without", false))
	for _, s := range samples {
		b.Logf("%s: %s an event", s.Name, benchtest.Median(s.Wall)/devices)
	}
	ratios := benchtest.Ratios(samples[0].Wall, samples[1].Wall)
	b.Logf("with ÷ without traces: %s", benchtest.Spread(ratios))
	b.ReportMetric(benchtest.Median(ratios), "ratio")
}
