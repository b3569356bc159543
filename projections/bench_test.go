package projections_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections"
)

// Each benchmark measures the bare alternative in the same run, in turns with
// ours, and prints the median of the ratios: what the machine does meanwhile
// then weighs on both.
const rounds = 5

func median(rs []float64) float64 {
	s := slices.Sorted(slices.Values(rs))
	return s[len(s)/2]
}

func perSecond(n int, took []time.Duration) float64 {
	s := slices.SortedFunc(slices.Values(took), cmp.Compare)
	return float64(n) / s[len(s)/2].Seconds()
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

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

func newPlace(b *testing.B, replicas int) place {
	b.Helper()
	var nc *nats.Conn
	var js jetstream.JetStream
	if replicas > 1 {
		nc, js = natstest.Cluster(b, replicas).Connect(b)
	} else {
		nc, js = natstest.Start(b).Connect(b)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for { // a young cluster's peers may not all be known yet
		_, err := eventlog.EnsureLog(ctx, js, eventlog.LogConfig{Replicas: replicas})
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			b.Fatal(err)
		}
	}
	_, err := projections.Ensure(ctx, js, projections.Config{Replicas: replicas})
	mustNot(b, err)
	return place{nc, js}
}

// settle waits until the projections are as far as the log, so that one turn's
// tail does not burden the next turn.
func (p place) settle(b *testing.B) {
	b.Helper()
	info, err := eventlog.Log(b.Context(), p.js)
	mustNot(b, err)
	mustNot(b, projections.WaitFor(b.Context(), p.js, eventlog.BucketDesired, info.Last))
}

// BenchmarkAppend is what appending through the Appender costs, beside bare
// asynchronous publishes of the same messages to the same stream.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ replicas, events int }{{1, 50_000}, {3, 20_000}} {
		b.Run(fmt.Sprintf("R%d", c.replicas), func(b *testing.B) {
			p := newPlace(b, c.replicas)
			a, err := eventlog.NewAppender(p.nc, eventlog.AppenderOptions{Source: "operator"})
			mustNot(b, err)
			token, err := a.Elect(b.Context(), eventlog.Leader{Identity: "bench"}, time.Now())
			mustNot(b, err)
			bare, err := jetstream.New(p.nc, jetstream.WithPublishAsyncMaxPending(4096))
			mustNot(b, err)

			ours := func(round int) time.Duration {
				ds := drafts(c.events, round)
				return timed(func() {
					_, err := a.Append(b.Context(), ds)
					mustNot(b, err)
				})
			}
			theirs := func(round int, header nats.Header) time.Duration {
				ds := drafts(c.events, round)
				return timed(func() {
					for _, d := range ds {
						m := d.Message("operator", ulid.Make().String())
						maps.Copy(m.Header, header)
						_, err := bare.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute))
						mustNot(b, err)
					}
					<-bare.PublishAsyncComplete()
				})
			}
			// The same messages byte for byte, where that can be: on a replicated
			// stream the server takes no two with the fence at once.
			same := nats.Header{}
			if c.replicas == 1 {
				same.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(token, 10))
				same.Set("Nats-Expected-Last-Subject-Sequence-Subject", eventlog.LeaderSubject)
			}
			ours(0)
			p.settle(b)
			var ratios, unfenced []float64
			var times [3][]time.Duration
			turns := []func(round int) time.Duration{
				ours,
				func(round int) time.Duration { return theirs(round, same) },
				func(round int) time.Duration { return theirs(round, nil) },
			}
			b.ResetTimer()
			for range b.N {
				for round := range rounds {
					var took [3]time.Duration
					for i := range turns { // who comes first changes: the next finds a warmer store
						turn := (i + round) % len(turns)
						took[turn] = turns[turn](len(turns)*round + i + 1)
						p.settle(b)
					}
					for i := range took {
						times[i] = append(times[i], took[i])
					}
					ratios = append(ratios, took[1].Seconds()/took[0].Seconds())
					unfenced = append(unfenced, took[2].Seconds()/took[0].Seconds())
				}
			}
			b.StopTimer()
			puts := plainPuts(b, p.js, c.replicas)
			b.Logf("R%d, %d events of 450 bytes: eventlog %.0f/s, bare PublishMsgAsync %.0f/s, without the fence's headers %.0f/s, plain KV puts %.0f/s",
				c.replicas, c.events, perSecond(c.events, times[0]), perSecond(c.events, times[1]), perSecond(c.events, times[2]), puts)
			b.Logf("append R%d: ratio %.2f (goal ≥ 0.9), rounds %.2f; to messages without the fence's headers %.2f, rounds %.2f",
				c.replicas, median(ratios), ratios, median(unfenced), unfenced)
			b.ReportMetric(median(ratios), "ratio")
		})
	}
}

// plainPuts is the rate of kv.Put, one after the other, into an ordinary bucket:
// what a design without a log would do.
func plainPuts(b *testing.B, js jetstream.JetStream, replicas int) float64 {
	b.Helper()
	kv, err := js.CreateKeyValue(b.Context(), jetstream.KeyValueConfig{Bucket: "plain", Replicas: replicas, Storage: jetstream.FileStorage})
	mustNot(b, err)
	const n = 2000
	body := score(0)
	took := timed(func() {
		for i := range n {
			_, err := kv.Put(b.Context(), fmt.Sprintf("device-%06d.web", i), body)
			mustNot(b, err)
		}
	})
	mustNot(b, js.DeleteKeyValue(b.Context(), "plain"))
	return n / took.Seconds()
}
