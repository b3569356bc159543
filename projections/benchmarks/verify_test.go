package benchmarks_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/reader"
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
	states := fill(b, p, events, devices)
	seals := p.seal(b, seal.DefaultEvents)

	read := func() {
		n := 0
		for _, err := range reader.Read(b.Context(), p.js, reader.Options{}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != events+seals {
			b.Fatalf("read %d events, want %d", n, events+seals)
		}
	}
	check := func() {
		r, err := verify.Run(b.Context(), p.js, verify.Options{})
		mustNot(b, err)
		if r.Differences() != 0 || r.Foreign() != 0 || r.Seals.Held != seals || r.Buckets[1].Compared != states {
			b.Fatalf("want %d seals and %d states, and no difference: %+v", seals, states, r)
		}
	}
	samples := benchtest.Alternate(b, 5, benchtest.Turn{Name: "read", Run: read}, benchtest.Turn{Name: "verify", Run: check})
	for _, s := range samples {
		b.Logf("%d events of %d devices, %d seals: %s %s", events, devices, seals, s.Name, benchtest.Rate(events, s.Wall))
	}
	wall, cpu := benchtest.Ratios(samples[1].Wall, samples[0].Wall), benchtest.Ratios(samples[1].CPU, samples[0].CPU)
	b.Logf("verify ÷ read (goal ≤ 2): %s; of processor time, server and client: %s", benchtest.Spread(wall), benchtest.Spread(cpu))
	b.ReportMetric(benchtest.Median(wall), "ratio")
	b.ReportMetric(benchtest.Median(cpu), "cpu-ratio")
}

// seal appends a seal over each so many events, and says how many.
func (p place) seal(b *testing.B, each uint64) (seals int) {
	b.Helper()
	key, err := nkeys.CreateUser()
	mustNot(b, err)
	t := seal.NewTree()
	for e, err := range reader.Read(b.Context(), p.js, reader.Options{}) {
		mustNot(b, err)
		mustNot(b, t.Add(e))
		if t.Size()%each != 0 {
			continue
		}
		s, err := seal.Sign(key, t, time.Now())
		mustNot(b, err)
		d, err := eventlog.NewDraft(eventlog.SealSubject, eventlog.SealCreated, time.Now(), s)
		mustNot(b, err)
		_, err = appender.Unfenced(b.Context(), p.js, "operator", d)
		mustNot(b, err)
		seals++
	}
	return seals
}
