package asof_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/checkpoint"
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
	saved, spent, weight := saveAsALeader(b, checkpoint.Store{JS: js}, log)

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
		events, devices, float64(log.Bytes)/1e6, float64(events)/filled.Seconds(), saved, float64(weight)/float64(saved)/1e6, (spent / time.Duration(saved)).Round(time.Millisecond))
	for _, s := range samples {
		b.Logf("%s: %s (%s to %s)", s.Name, benchtest.Median(s.Wall).Round(time.Millisecond), slices.Min(s.Wall).Round(time.Millisecond), slices.Max(s.Wall).Round(time.Millisecond))
	}
	wall, cpu := benchtest.Ratios(samples[0].Wall, samples[1].Wall), benchtest.Ratios(samples[0].CPU, samples[1].CPU)
	b.Logf("from a checkpoint ÷ fold to that moment (goal ≤ 0.1): %s; of processor time, server and client: %s", benchtest.Spread(wall), benchtest.Spread(cpu))
	b.ReportMetric(benchtest.Median(wall), "ratio")
}

// saveAsALeader folds the log once and saves what a leader would have saved when
// the log was as long.
func saveAsALeader(b *testing.B, store checkpoint.Store, log logstream.Info) (saved int, spent time.Duration, bytes uint64) {
	b.Helper()
	every := min(checkpoint.DefaultEvents, log.Last/40)
	v, newest := fleet.New(), checkpoint.Entry{}
	for e, err := range reader.Read(b.Context(), store.JS, reader.Options{}) {
		fleet.Apply(v, e, err)
		then := logstream.Info{ID: log.ID, First: 1, Last: v.Sequence, Bytes: uint64(float64(log.Bytes) / float64(log.Last) * float64(v.Sequence))}
		if !checkpoint.Due(then, newest, every) {
			continue
		}
		begun := time.Now()
		if newest, err = store.Save(b.Context(), log.ID, v); err != nil {
			b.Fatal(err)
		}
		if err := store.Prune(b.Context(), log.ID, v.Sequence); err != nil {
			b.Fatal(err)
		}
		spent += time.Since(begun)
		saved++
		bytes += newest.Bytes
	}
	if saved == 0 {
		b.Fatal(fmt.Errorf("no checkpoint was due in %d events", log.Last))
	}
	return saved, spent, bytes
}
