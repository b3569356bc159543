// Package asoftest makes logs of a fleet's life for the tests of what folds
// them, and folds them by brute force.
package asoftest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// Life appends what a fleet's life looks like: Deployments are applied, assigned
// and withdrawn, devices inform and report, go away and come back; and now and
// then there is a message that nobody understands.
type Life struct {
	tb      testing.TB
	js      jetstream.JetStream
	rand    *rand.Rand
	devices int
	n       int
	at      time.Time
}

// NewLife makes the log where there is none, for a fleet of so many devices.
func NewLife(tb testing.TB, js jetstream.JetStream, devices int) *Life {
	tb.Helper()
	if _, err := logstream.Ensure(tb.Context(), js, logstream.Config{}); err != nil {
		tb.Fatal(err)
	}
	async, err := jetstream.New(js.Conn(), jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		tb.Fatal(err)
	}
	return &Life{tb: tb, js: async, rand: rand.New(rand.NewPCG(1, 2)), devices: devices, at: time.Now()}
}

// Append makes the log longer by n events, and returns once it has them.
func (l *Life) Append(n int) {
	l.tb.Helper()
	for range n {
		if _, err := l.js.PublishMsgAsync(l.next(), jetstream.WithStallWait(time.Minute)); err != nil {
			l.tb.Fatal(err)
		}
	}
	select {
	case <-l.js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		l.tb.Fatal("the log does not answer")
	}
}

func (l *Life) next() *nats.Msg {
	l.n++
	l.at = l.at.Add(time.Millisecond)
	id := l.rand.IntN(l.devices)
	device := fmt.Sprintf("device-%06d", id)
	app := fmt.Sprintf("app-%d", id%3)
	score := fmt.Appendf(nil, `{"data":{"services":[{"image":"docker.io/library/nginx:1.%d","name":"web"}]},"type":"PodmanV0"}`, l.n%5)
	draft := func(subject string, typ eventlog.Type, payload any) *nats.Msg {
		d, err := eventlog.NewDraft(subject, typ, l.at, payload)
		if err != nil {
			l.tb.Fatal(err)
		}
		return d.Message("test", ulid.Make().String())
	}
	switch k := l.rand.IntN(100); {
	case k < 2:
		return draft(eventlog.DeploymentSubject("shop", app), eventlog.DeploymentApplied, eventlog.Deployment{
			UID: "uid-" + app, Generation: int64(l.n), Revision: uint64(l.n), Score: score, ScoreHash: eventlog.Hash(score),
		})
	case k < 8:
		return draft(eventlog.InfoSubject(device), eventlog.InfoReported, eventlog.DeviceInfo{
			DeviceID: device, Labels: map[string]string{"site": "lab"}, UpdatedAt: l.at,
			Inventory: eventlog.Inventory{Hostname: device, Arch: "arm64", OS: "linux", CPUCores: 4, MemoryMB: 3906},
		})
	case k < 10:
		return draft(eventlog.DeviceSubject(device), eventlog.DeviceRegistered, nil)
	case k < 14:
		typ := []eventlog.Type{eventlog.DeviceOnline, eventlog.DeviceOffline}[k%2]
		return draft(eventlog.DeviceSubject(device), typ, eventlog.Presence{Reason: "Test", LastSeen: l.at})
	case k < 16:
		return eventlog.Draft{
			Subject: eventlog.DesiredSubject(device, app), Type: eventlog.DesiredWithdrawn, Time: l.at, Namespace: "shop",
		}.Message("test", ulid.Make().String())
	case k < 30:
		return eventlog.Draft{
			Subject: eventlog.DesiredSubject(device, app), Type: eventlog.DesiredAssigned, Time: l.at,
			Namespace: "shop", Revision: uint64(l.n), Data: score,
		}.Message("test", ulid.Make().String())
	case k < 31:
		return &nats.Msg{Subject: eventlog.StateSubject(device, app), Data: []byte("nobody understands this")}
	default:
		state := eventlog.DeploymentState{
			DeviceID: device, Deployment: app, Phase: eventlog.PhaseRunning, LastEventAt: l.at, ScoreHash: eventlog.Hash(score), Revision: uint64(l.n),
			Services: []eventlog.ServiceState{{Name: "web", ContainerID: "cccccccccccc", State: "running", Ports: []string{"43117:80"}}},
		}
		if k > 90 {
			why := "pull failed"
			state.Phase, state.LastError, state.Reason = eventlog.PhaseFailed, &why, "ImagePullFailed"
		}
		m := draft(eventlog.StateSubject(device, app), eventlog.StateReported, state)
		if k%2 == 0 {
			m.Header.Set(eventlog.HeaderCounter, fmt.Sprintf("epoch%d.%d", id, l.n))
		}
		return m
	}
}

// Brute folds the whole log event by event and gives, for each sequence, the
// bytes of the view there.
func Brute(tb testing.TB, js jetstream.JetStream, sequences ...uint64) map[uint64][]byte {
	tb.Helper()
	at := map[uint64][]byte{}
	wanted := map[uint64]bool{}
	for _, s := range sequences {
		wanted[s] = true
	}
	v := fleet.New()
	for e, err := range reader.Read(tb.Context(), js, reader.Options{}) {
		fleet.Apply(v, e, err)
		if wanted[e.Sequence] {
			at[e.Sequence] = Encode(tb, v)
		}
	}
	return at
}

// Encode gives a view's bytes.
func Encode(tb testing.TB, v *fleet.View) []byte {
	tb.Helper()
	b, err := fleet.Encode(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
