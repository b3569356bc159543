package benchmarks_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// BenchmarkFold is what folding the log into the fleet costs, beside a bare
// ordered consumer that throws the same messages away. The log is a varied life
// of a fleet, see fill.
func BenchmarkFold(b *testing.B) {
	const events, devices = 200_000, 10_000
	p := newPlace(b, 1)
	fill(b, p, events, devices)

	read := func() {
		n := 0
		for _, err := range reader.Read(b.Context(), p.js, reader.Options{}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != events {
			b.Fatalf("read %d events, want %d", n, events)
		}
	}
	fold := func() {
		v := fleet.New()
		for e, err := range reader.Read(b.Context(), p.js, reader.Options{}) {
			if err != nil { // not mustNot: its b.Helper costs as much as decoding an event
				b.Fatal(err)
			}
			fleet.Apply(v, e, err)
		}
		if v.Sequence != events || len(v.Devices) != devices {
			b.Fatalf("folded %d events of %d devices, want %d of %d", v.Sequence, len(v.Devices), events, devices)
		}
	}
	bare := func() {
		cons, err := p.js.OrderedConsumer(b.Context(), eventlog.LogStream, jetstream.OrderedConsumerConfig{})
		mustNot(b, err)
		done, n := make(chan struct{}), 0
		cc, err := cons.Consume(func(jetstream.Msg) {
			if n++; n == events {
				close(done)
			}
		}, jetstream.PullMaxMessages(8192))
		mustNot(b, err)
		<-done
		cc.Stop()
		<-cc.Closed()
	}
	samples := benchtest.Alternate(b, 9,
		benchtest.Turn{Name: "bare ordered consumer", Run: bare},
		benchtest.Turn{Name: "read", Run: read},
		benchtest.Turn{Name: "fold", Run: fold},
	)
	for _, s := range samples {
		b.Logf("%d events of %d devices: %s %s", events, devices, s.Name, benchtest.Rate(events, s.Wall))
	}
	wall, cpu := benchtest.Ratios(samples[0].Wall, samples[2].Wall), benchtest.Ratios(samples[0].CPU, samples[2].CPU)
	b.Logf("read ÷ bare ordered consumer: %s", benchtest.Spread(benchtest.Ratios(samples[0].Wall, samples[1].Wall)))
	b.Logf("fold ÷ bare ordered consumer (goal ≥ 0.8): %s; of processor time, server and client: %s", benchtest.Spread(wall), benchtest.Spread(cpu))
	b.ReportMetric(benchtest.Median(wall), "ratio")
	b.ReportMetric(benchtest.Median(cpu), "cpu-ratio")
}
