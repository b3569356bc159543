package benchmarks_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

// BenchmarkReadByDirectGets is what reading the log costs without a consumer, as
// account PEOPLE reads it, beside reading it by one.
func BenchmarkReadByDirectGets(b *testing.B) {
	const events, devices = 200_000, 10_000
	p := newPlace(b, 1, natstest.PeoplesAPI(b))
	fill(b, p, events, devices)
	people, err := reader.People(p.nc)
	mustNot(b, err)
	read := func(js jetstream.JetStream) func() {
		return func() {
			n := 0
			for _, err := range reader.Read(b.Context(), js, reader.Options{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != events {
				b.Fatalf("read %d events, want %d", n, events)
			}
		}
	}
	samples := benchtest.Alternate(b, 9,
		benchtest.Turn{Name: "by a consumer", Run: read(p.js)},
		benchtest.Turn{Name: "by direct gets", Run: read(people)},
	)
	for _, s := range samples {
		b.Logf("%d events: %s %s", events, s.Name, benchtest.Rate(events, s.Wall))
	}
	wall, cpu := benchtest.Ratios(samples[0].Wall, samples[1].Wall), benchtest.Ratios(samples[0].CPU, samples[1].CPU)
	b.Logf("by direct gets ÷ by a consumer: %s; of processor time, server and client: %s", benchtest.Spread(wall), benchtest.Spread(cpu))
	b.ReportMetric(benchtest.Median(wall), "ratio")
	b.ReportMetric(benchtest.Median(cpu), "cpu-ratio")
}
