package eventsapi_test

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/asof/asoftest"
)

// BenchmarkEventsAPI is what the first page costs over a log of two million events of ten
// thousand devices, beside a bare read of the same messages by a consumer that is told
// where they begin: of a Deployment with all that its devices report, of its own events
// alone, of one with ten rollouts that lie far apart, of one that has an event in each
// twenty thousand, of a device, of a type, and of all. $FLEET_BENCH_EVENTS makes the log
// shorter.
func BenchmarkEventsAPI(b *testing.B) {
	const devices, rounds, rare = 10_000, 9, 100
	events := 2_000_000
	if s := os.Getenv("FLEET_BENCH_EVENTS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 10_000 {
			b.Fatalf("$FLEET_BENCH_EVENTS: %q is no number of events from 10000 on", s)
		}
		events = n
	}
	_, js := natstest.Start(b).Connect(b)
	life := asoftest.NewLife(b, js, devices)
	l := serve(b, js)
	begun := time.Now()
	for i := range rare {
		l.say(eventlog.DeploymentSubject("shop", "rare"), eventlog.RolloutStarted, eventlog.Rollout{Revision: 1, Kind: eventlog.RunUpdate})
		if i%10 == 0 {
			for range 10 {
				l.say(eventlog.DeploymentSubject("shop", "ten"), eventlog.RolloutBatchStarted, eventlog.Rollout{Revision: 1, Batch: 1})
				life.Append(50)
			}
		}
		life.Append(events/rare - 1)
	}
	b.Logf("%d events appended in %s", events, time.Since(begun).Round(time.Second))
	for name, query := range map[string]string{
		"a Deployment with its devices":    "namespace=shop&deployment=app-1",
		"a Deployment's own events":        "namespace=shop&deployment=app-1&type=deployment.&type=rollout.",
		"a Deployment that is rarely told": "namespace=shop&deployment=rare&type=rollout.&type=deployment.",
		"a Deployment with ten rollouts":   "namespace=shop&deployment=ten&type=rollout.",
		"a device":                         "device=device-000017",
		"a type, of all Deployments":       "type=deployment.applied",
		"all":                              "",
	} {
		b.Run(name, func(b *testing.B) {
			_, first := l.get(query)
			if len(first.Events) == 0 {
				b.Fatalf("%s: no events", query)
			}
			samples := benchtest.Alternate(b, rounds,
				benchtest.Turn{Name: "first page", Run: func() {
					if _, got := l.get(query); len(got.Events) != len(first.Events) {
						b.Fatalf("%d events, and %d before", len(got.Events), len(first.Events))
					}
				}},
				bareRead(b, js, first),
			)
			for _, s := range samples {
				b.Logf("%s, %d events, %s: %s (%s to %s)", name, len(first.Events), s.Name, benchtest.Median(s.Wall).Round(time.Microsecond*100),
					slices.Min(s.Wall).Round(time.Microsecond*100), slices.Max(s.Wall).Round(time.Microsecond*100))
			}
			b.Logf("%s: first page (goal ≤ 200 ms) ÷ bare read: %s", name, benchtest.Spread(benchtest.Ratios(samples[0].Wall, samples[1].Wall)))
			b.ReportMetric(float64(benchtest.Median(samples[0].Wall).Milliseconds()), "ms/page")
		})
	}
}

// bareRead reads the messages of a page by a consumer that has their subjects.
func bareRead(b *testing.B, js jetstream.JetStream, page body) benchtest.Turn {
	b.Helper()
	last := page.Events[len(page.Events)-1]
	subjects := map[string]struct{}{}
	for _, e := range page.Events {
		subjects[e["subject"].(string)] = struct{}{}
	}
	config := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(last["sequence"].(float64)),
	}
	for s := range subjects {
		config.FilterSubjects = append(config.FilterSubjects, s)
	}
	return benchtest.Turn{Name: "bare read of the same messages", Run: func() {
		c, err := js.CreateConsumer(b.Context(), eventlog.LogStream, config)
		if err != nil {
			b.Fatal(err)
		}
		batch, err := c.Fetch(len(page.Events), jetstream.FetchMaxWait(30*time.Second))
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for range batch.Messages() {
			n++
		}
		if err := batch.Error(); err != nil || n != len(page.Events) {
			b.Fatalf("read %d messages, want %d: %v", n, len(page.Events), err)
		}
		if err := js.DeleteConsumer(b.Context(), eventlog.LogStream, c.CachedInfo().Name); err != nil {
			b.Fatal(err)
		}
	}}
}
