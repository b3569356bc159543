package asof_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/fleet"
)

// BenchmarkPast is what the fleet at a moment in the middle of a long log costs
// with the checkpoints that a leader would have saved, beside the fold of the log
// up to that same moment. $FLEET_BENCH_EVENTS makes the log shorter.
func BenchmarkPast(b *testing.B) {
	const devices, rounds = 10_000, 9
	events := uint64(2_000_000)
	if s := os.Getenv("FLEET_BENCH_EVENTS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n < 1000 {
			b.Fatalf("$FLEET_BENCH_EVENTS: %q is no number of events", s)
		}
		events = n
	}
	_, js := natstest.Start(b).Connect(b)
	l := asoftest.NewLife(b, js, devices)
	begun := time.Now()
	l.Append(int(events))
	filled := time.Since(begun)
	log, err := logstream.Inspect(b.Context(), js)
	if err != nil || log.Last != events {
		b.Fatalf("the log ends at %d, want %d: %v", log.Last, events, err)
	}
	kept := asoftest.SaveAsALeader(b, js, log)

	r := rand.New(rand.NewPCG(3, 4))
	moments := make([]asof.Moment, rounds+1) // the first is for the round that does not count
	for i := range moments {
		moments[i] = asof.Moment{Sequence: events/4 + r.Uint64N(events/2)}
	}
	var m asof.Moment
	turn := func(name string, view **fleet.View, o asof.Options) benchtest.Turn {
		return benchtest.Turn{
			Name:    name,
			Prepare: func(round int) { m = moments[round] },
			Run: func() {
				v, err := asof.At(b.Context(), js, m, o)
				if err != nil {
					b.Fatal(err)
				}
				*view = v
			},
		}
	}
	var near, folded *fleet.View
	samples := benchtest.Alternate(b, rounds,
		turn("from a checkpoint", &near, asof.Options{}), turn("fold to that moment", &folded, asof.Options{NoCheckpoints: true}))
	if !bytes.Equal(asoftest.Encode(b, near), asoftest.Encode(b, folded)) {
		b.Errorf("at %s the view from a checkpoint is another", m)
	}
	b.Logf("%d events of %d devices (%.0f MB, appended at %.0f/s); %d checkpoints of %.1f MB on average, saved in %s each",
		events, devices, float64(log.Bytes)/1e6, float64(events)/filled.Seconds(), kept.Saved, float64(kept.Bytes)/float64(kept.Saved)/1e6, (kept.Spent / time.Duration(kept.Saved)).Round(time.Millisecond))
	for _, s := range samples {
		b.Logf("%s: %s (%s to %s)", s.Name, benchtest.Median(s.Wall).Round(time.Millisecond), slices.Min(s.Wall).Round(time.Millisecond), slices.Max(s.Wall).Round(time.Millisecond))
	}
	wall, cpu := benchtest.Ratios(samples[0].Wall, samples[1].Wall), benchtest.Ratios(samples[0].CPU, samples[1].CPU)
	b.Logf("from a checkpoint ÷ fold to that moment (goal ≤ 0.1): %s; of processor time, server and client: %s", benchtest.Spread(wall), benchtest.Spread(cpu))
	b.ReportMetric(benchtest.Median(wall), "ratio")
}
