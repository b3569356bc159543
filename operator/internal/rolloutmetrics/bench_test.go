package rolloutmetrics_test

import (
	"fmt"
	"testing"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// crowd is a world of Deployments in the midst of their rollouts, each on all devices.
func crowd(b *testing.B, deployments, devices int) *world {
	b.Helper()
	w := newWorld(b)
	w.budget("floor", 5)
	for i := range devices {
		id := fmt.Sprintf("device-%05d", i)
		w.state.SetDevice(id, map[string]eventlog.OwnedLabel{
			v1alpha1.LabelDevice: {Value: id, Owner: "fleet-operator"}, "site": {Value: "x", Owner: eventlog.OwnerDevice},
		})
		w.tell(eventlog.DeviceSubject(id), eventlog.DeviceOnline, eventlog.Presence{LastSeen: w.at})
	}
	w.settle()
	for i := range deployments {
		key := fleet.Key{Namespace: "shop", Name: fmt.Sprintf("web-%d", i)}
		w.put(key, 1, "app:1", nil, "x")
	}
	return w
}

// BenchmarkScrape is what a scrape costs with a hundred times as many devices: what it
// says is kept by change, so that is the same.
func BenchmarkScrape(b *testing.B) {
	const deployments, few, many = 20, 50, 5000
	turn := func(devices int) benchtest.Turn {
		w := crowd(b, deployments, devices)
		return benchtest.Turn{Name: fmt.Sprintf("%d devices", devices), Run: func() {
			for range 50 {
				if _, err := w.registry.Gather(); err != nil {
					b.Fatal(err)
				}
			}
		}}
	}
	samples := benchtest.Alternate(b, 9, turn(many), turn(few))
	for _, s := range samples {
		b.Logf("%d Deployments on %s: a scrape takes %s", deployments, s.Name, (benchtest.Median(s.Wall) / 50).Round(time.Microsecond))
	}
	wall := benchtest.Ratios(samples[0].Wall, samples[1].Wall)
	b.Logf("%d devices ÷ %d devices (goal ≤ 1.25): %s", many, few, benchtest.Spread(wall))
	b.ReportMetric(benchtest.Median(wall), "ratio")
}

// BenchmarkWitness is the fold of reports with the metrics of what they say, beside the
// bare fold.
func BenchmarkWitness(b *testing.B) {
	const devices, reports = 5000, 200_000
	fold := func(witness bool) benchtest.Turn {
		var w *world
		var events []eventlog.Event
		return benchtest.Turn{
			Name: map[bool]string{true: "fold with metrics", false: "bare fold"}[witness],
			Prepare: func(int) {
				w = crowd(b, 1, devices)
				key := fleet.Key{Namespace: "shop", Name: "web-0"}
				score := w.state.View().Deployments[key].Spec.ScoreHash
				events = events[:0]
				for i := range reports {
					id := fmt.Sprintf("device-%05d", i*7919%devices)
					d, err := eventlog.NewDraft(eventlog.StateSubject(id, key.Name), eventlog.StateReported, w.at, eventlog.DeploymentState{
						DeviceID: id, Deployment: key.Name, Phase: eventlog.PhaseRunning, ScoreHash: score, Revision: 1, LastEventAt: w.at,
					})
					if err != nil {
						b.Fatal(err)
					}
					m := d.Message("test", "ID")
					e, err := eventlog.Decode(m.Subject, m.Header, m.Data, w.seq+uint64(i)+1, w.at)
					if err != nil {
						b.Fatal(err)
					}
					events = append(events, e)
				}
			},
			Run: func() {
				w.Do(func(s *decide.State) {
					for _, e := range events {
						fleet.Apply(s.View(), e, nil)
						if witness {
							w.witness.Folded(s.View(), e, true)
						}
					}
				})
			},
		}
	}
	samples := benchtest.Alternate(b, 5, fold(true), fold(false))
	for _, s := range samples {
		b.Logf("%s: %s", s.Name, benchtest.Rate(reports, s.Wall))
	}
	wall := benchtest.Ratios(samples[0].Wall, samples[1].Wall)
	b.Logf("fold with metrics ÷ bare fold (goal ≤ 1.25): %s", benchtest.Spread(wall))
	b.ReportMetric(benchtest.Median(wall), "ratio")
}
