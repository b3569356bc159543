package past_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/past"
	"fleet.nationtech.io/projections/past/pasttest"
)

// BenchmarkPast is what the fleet at a moment in the middle of a long log costs
// with the checkpoints that a leader would have saved, beside the fold of the
// whole log. $FLEET_BENCH_EVENTS makes the log shorter.
func BenchmarkPast(b *testing.B) {
	const devices, rounds, moments = 10_000, 3, 5
	events := uint64(2_000_000)
	if s := os.Getenv("FLEET_BENCH_EVENTS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n < 1000 {
			b.Fatalf("$FLEET_BENCH_EVENTS: %q is no number of events", s)
		}
		events = n
	}
	_, js := natstest.Start(b).Connect(b)
	l := pasttest.NewLife(b, js, devices)
	begun := time.Now()
	l.Append(int(events))
	filled := time.Since(begun)
	log, err := eventlog.Log(b.Context(), js)
	if err != nil || log.Last != events {
		b.Fatalf("the log ends at %d, want %d: %v", log.Last, events, err)
	}
	saved, spent, weight := saveAsALeader(b, checkpoint.Store{JS: js}, log)

	at := func(m past.Moment, o past.Options) (*fleet.View, time.Duration) {
		begun := time.Now()
		v, err := past.At(b.Context(), js, m, o)
		if err != nil {
			b.Fatal(err)
		}
		return v, time.Since(begun)
	}
	r := rand.New(rand.NewPCG(3, 4))
	var ratios []float64
	var fulls, nears []time.Duration
	b.ResetTimer()
	for range b.N {
		for range rounds {
			_, full := at(past.Moment{}, past.Options{NoCheckpoints: true})
			fulls = append(fulls, full)
			for range moments {
				m := past.Moment{Sequence: events/4 + r.Uint64N(events/2)}
				_, near := at(m, past.Options{})
				nears = append(nears, near)
				ratios = append(ratios, near.Seconds()/full.Seconds())
			}
		}
	}
	b.StopTimer()
	m := past.Moment{Sequence: events/4 + r.Uint64N(events/2)}
	near, _ := at(m, past.Options{})
	zero, toThere := at(m, past.Options{NoCheckpoints: true})
	if !bytes.Equal(pasttest.Encode(b, near), pasttest.Encode(b, zero)) {
		b.Errorf("at %s the view from a checkpoint is another", m)
	}
	slices.Sort(ratios)
	slices.Sort(fulls)
	slices.Sort(nears)
	median := ratios[len(ratios)/2]
	b.Logf("%d events of %d devices (%.0f MB, appended at %.0f/s); %d checkpoints of %.1f MB on average, saved in %s each",
		events, devices, float64(log.Bytes)/1e6, float64(events)/filled.Seconds(), saved, float64(weight)/float64(saved)/1e6, (spent / time.Duration(saved)).Round(time.Millisecond))
	b.Logf("full fold %s, up to %s %s; from a checkpoint %s (%s to %s)", fulls[len(fulls)/2].Round(time.Millisecond), m, toThere.Round(time.Millisecond),
		nears[len(nears)/2].Round(time.Millisecond), nears[0].Round(time.Millisecond), nears[len(nears)-1].Round(time.Millisecond))
	b.Logf("past: ratio %.3f (goal ≤ 0.1), moments %.3f", median, ratios)
	b.ReportMetric(median, "ratio")
}

// saveAsALeader folds the log once and saves what a leader would have saved when
// the log was as long.
func saveAsALeader(b *testing.B, store checkpoint.Store, log eventlog.LogInfo) (saved int, spent time.Duration, bytes uint64) {
	b.Helper()
	every := min(checkpoint.DefaultEvents, log.Last/40)
	v, newest := fleet.New(), checkpoint.Kept{}
	for e, err := range eventlog.Read(b.Context(), store.JS, eventlog.ReadOptions{}) {
		fleet.Apply(v, e, err)
		then := eventlog.LogInfo{ID: log.ID, First: 1, Last: v.Sequence, Bytes: uint64(float64(log.Bytes) / float64(log.Last) * float64(v.Sequence))}
		if !checkpoint.Due(then, newest, every) {
			continue
		}
		begun := time.Now()
		if newest, err = store.Save(b.Context(), log.ID, v); err != nil {
			b.Fatal(err)
		}
		if err := store.Tidy(b.Context(), log.ID, v.Sequence); err != nil {
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
