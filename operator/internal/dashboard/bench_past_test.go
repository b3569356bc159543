package dashboard_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/fleet"
)

// BenchmarkDashboardPast is what a look at any moment costs, in a log of two million events of
// ten thousand devices with 50 Deployments, two of them in the middle of a rollout: the first
// page of that moment, the fold from the nearest checkpoint alone, the model of the page alone,
// and another page of the same moment. $FLEET_BENCH_EVENTS makes the log
// shorter.
func BenchmarkDashboardPast(b *testing.B) {
	const devices, rounds = 10_000, 25
	events := uint64(2_000_000)
	if s := os.Getenv("FLEET_BENCH_EVENTS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n < 200_000 {
			b.Fatalf("$FLEET_BENCH_EVENTS: %q is no number of events from 200000 on", s)
		}
		events = n
	}
	js := dashboardtest.NewLog(b)
	begun := time.Now()
	crowd(b, js, devices)
	log, err := logstream.Inspect(b.Context(), js)
	if err != nil {
		b.Fatal(err)
	}
	asoftest.NewLife(b, js, devices).Append(int(events - log.Last))
	if log, err = logstream.Inspect(b.Context(), js); err != nil {
		b.Fatal(err)
	}
	appended := time.Since(begun)
	kept := asoftest.SaveAsALeader(b, js, log)
	b.Logf("%d events (%.0f MB) appended in %s; %d checkpoints of %.1f MB on average, saved in %s each", log.Last, float64(log.Bytes)/1e6, appended.Round(time.Second), kept.Saved, float64(kept.Bytes)/float64(kept.Saved)/1e6, (kept.Spent / time.Duration(kept.Saved)).Round(time.Millisecond))
	s := dashboardtest.New(b, js)

	r := rand.New(rand.NewPCG(5, 6))
	var at uint64
	anywhere := func(int) { at = 1 + r.Uint64N(log.Last) }
	ask := func(path string) {
		if answer, body := s.Get(fmt.Sprintf("%s?at=%d", path, at), "Accept-Encoding", "gzip"); answer.StatusCode != http.StatusOK {
			b.Fatal(answer.Status, body)
		}
	}
	var v *fleet.View
	fold := func() {
		var err error
		if v, err = asof.At(b.Context(), js, asof.Moment{Sequence: at}, asof.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	for range b.N {
		all := benchtest.Alternate(b, rounds,
			benchtest.Turn{Name: "the first page of a moment", Prepare: anywhere, Run: func() { ask("/") }},
			benchtest.Turn{Name: "the fold alone", Prepare: anywhere, Run: fold},
			benchtest.Turn{Name: "the overview's model alone", Prepare: func(i int) { anywhere(i); fold() }, Run: func() {
				model.OverviewOf(resource.NewCatalog(v, v.Recorded), false, model.Present{})
			}},
			benchtest.Turn{Name: "another page of that moment", Prepare: func(i int) { anywhere(i); ask("/") }, Run: func() { ask("/devices") }},
		)
		for _, turn := range all {
			wall := slices.Sorted(slices.Values(turn.Wall))
			b.Logf("%s: %s, 95 of 100 within %s, at most %s (processor %s)", turn.Name, benchtest.Median(wall).Round(time.Millisecond),
				wall[len(wall)*95/100].Round(time.Millisecond), wall[len(wall)-1].Round(time.Millisecond), benchtest.Median(turn.CPU).Round(time.Millisecond))
		}
		b.ReportMetric(float64(benchtest.Median(all[0].Wall).Milliseconds()), "ms/moment")
	}
}
