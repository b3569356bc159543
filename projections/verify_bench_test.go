package projections_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/seal"
	"fleet.nationtech.io/projections/verify"
)

// BenchmarkVerify is what verifying costs, beside reading the same log: hashing
// every message into the tree, comparing the seals, folding, and comparing the
// buckets. $FLEET_BENCH_EVENTS is for a smaller log.
func BenchmarkVerify(b *testing.B) {
	events, devices := 1_000_000, 10_000
	if s := os.Getenv("FLEET_BENCH_EVENTS"); s != "" {
		n, err := strconv.Atoi(s)
		mustNot(b, err)
		events, devices = n, max(1, n/100)
	}
	p := newPlace(b, 1)
	fill(b, p, events, devices)
	seals := p.seal(b, seal.DefaultEvents)

	read := func() time.Duration {
		return timed(func() {
			n := 0
			for _, err := range eventlog.Read(b.Context(), p.js, eventlog.ReadOptions{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != events+seals {
				b.Fatalf("read %d events, want %d", n, events+seals)
			}
		})
	}
	check := func() time.Duration {
		return timed(func() {
			r, err := verify.Run(b.Context(), p.js, verify.Options{})
			mustNot(b, err)
			if r.Differences() != 0 || r.Foreign() != 0 || r.Seals.Held != seals || r.Buckets[1].Compared != devices {
				b.Fatalf("%+v", r)
			}
		})
	}
	read()
	turns := []func() time.Duration{read, check}
	var wall, cpu [2][]time.Duration
	b.ResetTimer()
	for range b.N {
		for round := range 3 {
			for i := range turns { // who comes first changes
				turn := (i + round) % 2
				before := cpuTime(b)
				wall[turn] = append(wall[turn], turns[turn]())
				cpu[turn] = append(cpu[turn], cpuTime(b)-before)
			}
		}
	}
	b.StopTimer()
	b.Logf("%d events of %d devices, %d seals: verify %.0f/s, read %.0f/s", events, devices, seals, perSecond(events, wall[1]), perSecond(events, wall[0]))
	b.Logf("verify ÷ read: ratio %.2f (goal ≤ 2), rounds %.2f; of processor time, server and client, %.2f, rounds %.2f",
		median(ratios(wall[1], wall[0])), ratios(wall[1], wall[0]), median(ratios(cpu[1], cpu[0])), ratios(cpu[1], cpu[0]))
	b.ReportMetric(median(ratios(wall[1], wall[0])), "ratio")
	b.ReportMetric(median(ratios(cpu[1], cpu[0])), "cpu-ratio")
}

// seal appends a seal over each so many events, and says how many.
func (p place) seal(b *testing.B, each uint64) (seals int) {
	b.Helper()
	key, err := nkeys.CreateUser()
	mustNot(b, err)
	t := seal.NewTree()
	for e, err := range eventlog.Read(b.Context(), p.js, eventlog.ReadOptions{}) {
		mustNot(b, err)
		mustNot(b, t.Add(e))
		if t.Size()%each != 0 {
			continue
		}
		s, err := seal.Sign(key, t, time.Now())
		mustNot(b, err)
		d, err := eventlog.NewDraft(eventlog.SealSubject, eventlog.SealCreated, time.Now(), s)
		mustNot(b, err)
		_, err = eventlog.AppendUnfenced(b.Context(), p.js, "operator", d)
		mustNot(b, err)
		seals++
	}
	return seals
}
