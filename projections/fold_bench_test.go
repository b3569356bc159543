package projections_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// BenchmarkFold is what folding the log into the fleet costs, beside a bare
// ordered consumer that throws the same messages away.
func BenchmarkFold(b *testing.B) {
	const events, devices = 200_000, 10_000
	p := newPlace(b, 1)
	fill(b, p, events, devices)

	read := func() time.Duration {
		n := 0
		return timed(func() {
			for _, err := range eventlog.Read(b.Context(), p.js, eventlog.ReadOptions{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != events {
				b.Fatalf("read %d events, want %d", n, events)
			}
		})
	}
	fold := func() time.Duration {
		return timed(func() {
			v := fleet.New()
			for e, err := range eventlog.Read(b.Context(), p.js, eventlog.ReadOptions{}) {
				if err != nil { // not mustNot: its b.Helper costs as much as decoding an event
					b.Fatal(err)
				}
				fleet.Apply(v, e, err)
			}
			if v.Sequence != events || len(v.Devices) != devices {
				b.Fatalf("folded %d events of %d devices, want %d of %d", v.Sequence, len(v.Devices), events, devices)
			}
		})
	}
	bare := func() time.Duration {
		cons, err := p.js.OrderedConsumer(b.Context(), eventlog.LogStream, jetstream.OrderedConsumerConfig{})
		mustNot(b, err)
		done, n := make(chan struct{}), 0
		return timed(func() {
			cc, err := cons.Consume(func(jetstream.Msg) {
				if n++; n == events {
					close(done)
				}
			}, jetstream.PullMaxMessages(8192))
			mustNot(b, err)
			<-done
			cc.Stop()
			<-cc.Closed()
		})
	}
	turns := []struct {
		name string
		run  func() time.Duration
	}{{"bare ordered consumer", bare}, {"read", read}, {"fold", fold}}
	bare()
	var wall, cpu [3][]time.Duration
	b.ResetTimer()
	for range b.N {
		for round := range 9 {
			for i := range turns { // who comes first changes: what the machine does meanwhile weighs on all
				turn := (i + round) % len(turns)
				before := cpuTime(b)
				wall[turn] = append(wall[turn], turns[turn].run())
				cpu[turn] = append(cpu[turn], cpuTime(b)-before)
			}
		}
	}
	b.StopTimer()
	for i, turn := range turns {
		b.Logf("%d events of %d devices: %s %.0f/s", events, devices, turn.name, perSecond(events, wall[i]))
	}
	for i, turn := range turns[1:] {
		b.Logf("%s: ratio %.2f, rounds %.2f; of processor time, server and client, %.2f, rounds %.2f", turn.name,
			median(ratios(wall[0], wall[i+1])), ratios(wall[0], wall[i+1]), median(ratios(cpu[0], cpu[i+1])), ratios(cpu[0], cpu[i+1]))
	}
	b.Logf("fold ÷ bare ordered consumer: goal ≥ 0.8")
	b.ReportMetric(median(ratios(wall[0], wall[2])), "ratio")
	b.ReportMetric(median(ratios(cpu[0], cpu[2])), "cpu-ratio")
}

// ratios are those of each round: how much quicker the first was than the second.
func ratios(of, to []time.Duration) []float64 {
	rs := make([]float64, len(of))
	for i := range of {
		rs[i] = of[i].Seconds() / to[i].Seconds()
	}
	return rs
}

// cpuTime is what the process has used of processors: a machine that is busy with
// others makes both sides slow, and this of neither.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	mustNot(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fill appends what a fleet's life looks like: each device informs, is assigned
// a Deployment, and then mostly reports.
func fill(b *testing.B, p place, events, devices int) {
	b.Helper()
	js, err := jetstream.New(p.nc, jetstream.WithPublishAsyncMaxPending(4096))
	mustNot(b, err)
	body := score(0)
	hash := eventlog.Hash(body)
	for i := range events {
		device := fmt.Sprintf("device-%06d", i%devices)
		at := time.Now()
		var d eventlog.Draft
		switch i / devices {
		case 0:
			d, err = eventlog.NewDraft(eventlog.InfoSubject(device), eventlog.InfoReported, at, eventlog.DeviceInfo{
				DeviceID: device, Labels: map[string]string{"site": "lab"}, UpdatedAt: at,
				Inventory: eventlog.Inventory{Hostname: device, Arch: "arm64", OS: "linux", CPUCores: 4, MemoryMB: 3906},
			})
		case 1:
			d = eventlog.Draft{
				Subject: eventlog.DesiredSubject(device, "web"), Type: eventlog.DesiredAssigned, Time: at,
				Namespace: "shop", Revision: 1, Data: body,
			}
		default:
			d, err = eventlog.NewDraft(eventlog.StateSubject(device, "web"), eventlog.StateReported, at, eventlog.DeploymentState{
				DeviceID: device, Deployment: "web", Phase: eventlog.PhaseRunning, LastEventAt: at, ScoreHash: hash, Revision: 1,
				Services: []eventlog.ServiceState{{Name: "web", ContainerID: strings.Repeat("c", 12), State: "running", Ports: []string{"43117:80"}}},
			})
		}
		mustNot(b, err)
		_, err = js.PublishMsgAsync(d.Message("agent", ulid.Make().String()), jetstream.WithStallWait(time.Minute))
		mustNot(b, err)
	}
	<-js.PublishAsyncComplete()
	p.settle(b)
}
