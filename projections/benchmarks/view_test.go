package benchmarks_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// BenchmarkViewMemory is what the fleet weighs in memory: 10,000 devices that
// have informed, were registered, labelled and seen online, then ten Deployments on
// each of them, of which a rollout brought the second revision, all reported. Each event comes as from the log, in memory of
// its own, so what a view keeps of it counts in full.
func BenchmarkViewMemory(b *testing.B) {
	const devices, deployments = 10_000, 10
	for range b.N {
		s := &stream{b: b, v: fleet.New()}
		empty := inUse()
		for i := range devices {
			s.device(name(i))
		}
		without := inUse()
		for k := range deployments {
			s.deployment(fmt.Sprintf("app-%02d", k), devices)
		}
		full := inUse()
		if got := s.v.Deployments[fleet.Key{Namespace: "shop", Name: "app-00"}].Counts.Succeeded; got != devices {
			b.Fatalf("%d devices succeeded, want %d", got, devices)
		}
		const pairs = devices * deployments
		all, own, device := float64(full-empty)/pairs, float64(full-without)/pairs, float64(without-empty)/devices
		b.Logf("%d devices, %d Deployments in a rollout on each: %.0f bytes a pair, all included (goal ≤ 400); %.0f the pair itself; a device without pairs %.0f bytes",
			devices, deployments, all, own, device)
		b.ReportMetric(all, "bytes/pair")
		b.ReportMetric(own, "bytes/pair-alone")
		b.ReportMetric(device, "bytes/device")
		encoded(b, s.v, pairs)
	}
}

// encoded measures the view as bytes, as a checkpoint keeps it.
func encoded(b *testing.B, v *fleet.View, pairs int) {
	b.Helper()
	var bytes []byte
	var err error
	encode := timed(func() { bytes, err = fleet.Encode(v) })
	mustNot(b, err)
	decode := timed(func() { v, err = fleet.Decode(bytes) })
	mustNot(b, err)
	b.Logf("encoded: %d bytes, %d a pair; encoding %v, decoding %v", len(bytes), len(bytes)/pairs, encode.Round(time.Millisecond), decode.Round(time.Millisecond))
	runtime.KeepAlive(v)
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func name(i int) string { return fmt.Sprintf("device-%06d", i) }

// stream folds events as they would come from the log.
type stream struct {
	b   *testing.B
	v   *fleet.View
	seq uint64
}

func (s *stream) add(d eventlog.Draft, err error) {
	mustNot(s.b, err)
	s.seq++
	m := d.Message("writer", fmt.Sprintf("01JDFA7Q6Z%016d", s.seq))
	m.Header.Set(eventlog.HeaderCounter, fmt.Sprintf("9c1f2ab0.%d", s.seq))
	e, err := eventlog.Decode(m.Subject, asReceived(m.Header), m.Data, s.seq, time.Now())
	mustNot(s.b, err)
	fleet.Apply(s.v, e, nil)
}

// asReceived gives a header as the client does: names and values are parts of one
// text, so who keeps one of them keeps all.
func asReceived(h nats.Header) nats.Header {
	var text strings.Builder
	for k, vs := range h {
		text.WriteString(k + vs[0])
	}
	all, received := text.String(), nats.Header{}
	for k := range h {
		i := strings.Index(all, k)
		received[all[i:i+len(k)]] = []string{all[i+len(k) : i+len(k)+len(h[k][0])]}
	}
	return received
}

func (s *stream) device(id string) {
	s.add(eventlog.NewDraft(eventlog.InfoSubject(id), eventlog.InfoReported, time.Now(), eventlog.DeviceInfo{
		DeviceID: id, Labels: map[string]string{"site": "lab", "ring": "canary", "arch": "arm64"}, UpdatedAt: time.Now(),
		Inventory: eventlog.Inventory{
			Hostname: id, Arch: "arm64", OS: "Debian GNU/Linux 12", Kernel: "6.1.0-28-arm64", CPUCores: 4, MemoryMB: 3906,
			AgentVersion: "v1.2.3", PodmanVersion: "5.8.2",
		},
	}))
	s.add(eventlog.NewDraft(eventlog.DeviceSubject(id), eventlog.DeviceRegistered, time.Now(), eventlog.Registration{}))
	s.add(eventlog.NewDraft(eventlog.DeviceSubject(id), eventlog.DeviceRelabeled, time.Now(), eventlog.Labels{Labels: map[string]eventlog.OwnedLabel{
		"site": {Value: "lab", Owner: "device"}, "ring": {Value: "canary", Owner: "device"}, "arch": {Value: "arm64", Owner: "device"},
	}}))
	s.add(eventlog.NewDraft(eventlog.DeviceSubject(id), eventlog.DeviceOnline, time.Now(), eventlog.Presence{Reason: "PulseReceived", LastSeen: time.Now()}))
}

// deployment assigns an app to all devices, which report that they run it; and then
// brings a second revision to them in one batch of a rollout.
func (s *stream) deployment(app string, devices int) {
	for revision := range uint64(2) {
		body := score(int(revision))
		hash := eventlog.Hash(body)
		s.add(eventlog.NewDraft(eventlog.DeploymentSubject("shop", app), eventlog.DeploymentApplied, time.Now(), eventlog.Deployment{
			Revision: revision + 1, Score: body, ScoreHash: hash,
		}))
		s.add(eventlog.NewDraft(eventlog.DeploymentSubject("shop", app), eventlog.RolloutStarted, time.Now(), eventlog.Rollout{
			Revision: revision + 1, ScoreHash: hash, Kind: eventlog.RunUpdate, Strategy: eventlog.StrategyBatched, Devices: devices, Online: devices,
			Batches: []eventlog.PlannedBatch{{Cut: fleet.LastCut, Size: devices}},
		}))
		first := s.seq + 1
		for i := range devices {
			s.add(eventlog.Draft{
				Subject: eventlog.DesiredSubject(name(i), app), Type: eventlog.DesiredAssigned, Time: time.Now(),
				Namespace: "shop", Revision: revision + 1, Batch: 1, Data: body,
			}, nil)
		}
		for i := range devices {
			st := eventlog.DeploymentState{
				DeviceID: name(i), Deployment: app, Phase: eventlog.PhaseRunning, LastEventAt: time.Now(), ScoreHash: hash, Revision: revision + 1,
				Assignment: first + uint64(i),
			}
			s.add(eventlog.NewDraft(eventlog.StateSubject(name(i), app), eventlog.StateReported, time.Now(), st))
		}
	}
}
