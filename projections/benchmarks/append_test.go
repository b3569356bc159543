package benchmarks_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/benchtest"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/buckets"
)

// score is a desired value of about 450 bytes.
func score(n int) []byte {
	return fmt.Appendf(nil, `{"data":{"services":[{"env":{"ROUND":"%d","PAD":%q},"image":"docker.io/library/nginx:1.27","name":"web","ports":["80"]}]},"type":"PodmanV0"}`,
		n, strings.Repeat("x", 320))
}

func drafts(n, round int) []eventlog.Draft {
	body := score(round)
	ds := make([]eventlog.Draft, n)
	for i := range ds {
		ds[i] = eventlog.Draft{
			Subject: eventlog.DesiredSubject(fmt.Sprintf("device-%06d", i), "web"), Type: eventlog.DesiredAssigned, Time: time.Now(),
			CausationID: "01JDFA7Q6Z0000000000000000", Namespace: "shop", Revision: uint64(round + 1), Data: body,
		}
	}
	return ds
}

func mustNot(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// place is a server or a cluster with the log and its four buckets.
type place struct {
	nc *nats.Conn
	js jetstream.JetStream
}

func newPlace(b *testing.B, replicas int, options ...natstest.Option) place {
	b.Helper()
	var nc *nats.Conn
	var js jetstream.JetStream
	if replicas > 1 {
		nc, js = natstest.Cluster(b, replicas, options...).Connect(b)
	} else {
		nc, js = natstest.Start(b, options...).Connect(b)
	}
	natstest.EnsureLog(b, js, replicas)
	natstest.Settle(b, func(ctx context.Context) error {
		_, err := buckets.Ensure(ctx, js, buckets.Config{Replicas: replicas})
		return err
	})
	return place{nc, js}
}

// settle waits until the projections are as far as the log, so that one turn's
// tail does not burden the next turn.
func (p place) settle(b *testing.B) {
	b.Helper()
	info, err := logstream.Inspect(b.Context(), p.js)
	mustNot(b, err)
	mustNot(b, buckets.WaitFor(b.Context(), p.js, eventlog.BucketDesired, info.Last))
}

// BenchmarkAppend is what appending through the Appender costs, beside bare
// asynchronous publishes of the same messages to the same stream. The messages of
// the bare side are made before the clock starts; ours are drafts then, and what
// the Appender makes of them is part of its price. Two more lines are for
// comparison: the same without the fence, and, as a design without a log would,
// pipelined puts of the values into an ordinary bucket.
func BenchmarkAppend(b *testing.B) {
	const rounds = 7
	for _, c := range []struct{ replicas, events int }{{1, 50_000}, {3, 20_000}} {
		b.Run(fmt.Sprintf("R%d", c.replicas), func(b *testing.B) {
			p := newPlace(b, c.replicas)
			a, err := appender.New(p.nc, appender.Options{Source: "operator"})
			mustNot(b, err)
			token, err := a.Elect(b.Context(), eventlog.Leader{Identity: "bench"}, time.Now())
			mustNot(b, err)
			_, err = p.js.CreateKeyValue(b.Context(), jetstream.KeyValueConfig{Bucket: "plain", Replicas: c.replicas, Storage: jetstream.FileStorage})
			mustNot(b, err)

			var ds []eventlog.Draft
			ours := benchtest.Turn{
				Name:    "eventlog",
				Prepare: func(round int) { ds = drafts(c.events, round) },
				Run: func() {
					_, err := a.Append(b.Context(), ds)
					mustNot(b, err)
				},
				Settle: func() { p.settle(b) },
			}
			fenced := p.publishes(b, "bare PublishMsgAsync", func(round int) []*nats.Msg {
				msgs := messages(c.events, round)
				for _, m := range msgs {
					m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(token, 10))
					m.Header.Set("Nats-Expected-Last-Subject-Sequence-Subject", eventlog.LeaderSubject)
				}
				return msgs
			})
			bare := p.publishes(b, "without the fence's headers", func(round int) []*nats.Msg { return messages(c.events, round) })
			puts := p.publishes(b, "puts into a plain bucket", func(round int) []*nats.Msg {
				msgs := make([]*nats.Msg, c.events)
				for i := range msgs {
					msgs[i] = &nats.Msg{Subject: fmt.Sprintf("$KV.plain.device-%06d.web", i), Data: score(round)}
				}
				return msgs
			})
			turns := []benchtest.Turn{ours, fenced, bare, puts}
			if c.replicas > 1 { // a replicated stream takes no two messages with the fence at once
				bare.Name = fenced.Name
				turns = []benchtest.Turn{ours, bare, puts}
			}
			samples := benchtest.Alternate(b, rounds, turns...)
			for _, s := range samples {
				b.Logf("R%d, %d events of 450 bytes: %s %s", c.replicas, c.events, s.Name, benchtest.Rate(c.events, s.Wall))
			}
			for _, s := range samples[1:] {
				b.Logf("R%d, eventlog ÷ %s: %s; of processor time: %s", c.replicas, s.Name,
					benchtest.Spread(benchtest.Ratios(s.Wall, samples[0].Wall)), benchtest.Spread(benchtest.Ratios(s.CPU, samples[0].CPU)))
			}
			ratio := benchtest.Median(benchtest.Ratios(samples[1].Wall, samples[0].Wall))
			b.Logf("R%d, append: %.2f of bare PublishMsgAsync (goal ≥ 0.9)", c.replicas, ratio)
			b.ReportMetric(ratio, "ratio")
		})
	}
}

// messages are those of the drafts, as the Appender makes them but for the fence.
func messages(n, round int) []*nats.Msg {
	ds := drafts(n, round)
	msgs := make([]*nats.Msg, n)
	for i := range ds {
		msgs[i] = ds[i].Message("operator", ulid.Make().String())
	}
	return msgs
}

// publishes is the turn of a bare client that publishes messages asynchronously,
// as many at once as the Appender.
func (p place) publishes(b *testing.B, name string, made func(round int) []*nats.Msg) benchtest.Turn {
	b.Helper()
	js, err := jetstream.New(p.nc, jetstream.WithPublishAsyncMaxPending(4096),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) { b.Errorf("%s: %s: %v", name, m.Subject, err) }))
	mustNot(b, err)
	var msgs []*nats.Msg
	return benchtest.Turn{
		Name:    name,
		Prepare: func(round int) { msgs = made(round) },
		Run: func() {
			for _, m := range msgs {
				if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
					b.Fatal(err)
				}
			}
			<-js.PublishAsyncComplete()
		},
		Settle: func() { p.settle(b) },
	}
}
