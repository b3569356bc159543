package decide_test

import (
	"runtime"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// BenchmarkAReportInARollout measures what a device's report costs while a rollout is on
// its way: the fold, Release and the decision about the Deployment, over a hundred
// devices and over a hundred thousand.
func BenchmarkAReportInARollout(b *testing.B) {
	const reports, rounds = 2000, 9
	var turns []benchtest.Turn
	for _, c := range []struct {
		name    string
		devices int
	}{{"100,000 devices", 100_000}, {"100 devices", 100}} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := newShow(b, c.devices)
		s.apply("app:1", `{}`)
		s.nature["app:2"] = eventlog.PhaseRunning
		s.pass(0)
		s.apply("app:2", `{"batches":[{"size":"20%","soak":"1h"},{}],"maxUnavailable":"100%"}`)
		s.pass(0)
		s.log = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.Logf("%s: %d bytes a pair, with the device, the API's labels and all indexes", c.name, int(after.HeapAlloc-before.HeapAlloc)/c.devices)
		var given []*fleet.Assignment
		for _, id := range s.ids {
			if p := s.View().Devices[id].Pair("web"); p.Desired.Hash == s.run().Target.Hash {
				given = append(given, p)
			}
		}
		n := 0
		turns = append(turns, benchtest.Turn{Name: c.name, Run: func() {
			for range reports {
				p := given[n%len(given)]
				n++
				phase := eventlog.PhaseRunning
				if p.Reported.Phase == phase {
					phase = eventlog.PhasePending
				}
				s.tell(eventlog.StateSubject(p.Device.ID, "web"), eventlog.StateReported, eventlog.DeploymentState{
					DeviceID: p.Device.ID, Deployment: "web", Phase: phase, ScoreHash: p.Desired.Hash, Assignment: p.Desired.Sequence, LastEventAt: now,
				})
				if due, _ := decide.Release(s.State, now, decide.MaxGrants); len(due) > 0 {
					b.Fatalf("a report released %d events", len(due))
				}
				if due, err := decide.Decide(s.State, decide.OfProgress(key("a/web")), now); err != nil || len(due) > 0 {
					b.Fatalf("a report decided %v, %v", due, err)
				}
			}
			s.log = nil
		}})
	}
	samples := benchtest.Alternate(b, rounds, turns...)
	for _, s := range samples {
		b.Logf("%s: %s a report", s.Name, (benchtest.Median(s.Wall) / reports).Round(10*time.Nanosecond))
	}
	ratios := benchtest.Ratios(samples[0].Wall, samples[1].Wall)
	b.Logf("100,000 ÷ 100 devices (goal ≤ 2): %s", benchtest.Spread(ratios))
	b.ReportMetric(benchtest.Median(ratios), "ratio")
}
