package dashboardtest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/projections/storytest"
)

// NewLog makes an empty log on a server of its own.
func NewLog(t testing.TB) jetstream.JetStream {
	t.Helper()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	return js
}

// Publish puts the events of a story into a log, but for those that are there already.
func Publish(t testing.TB, js jetstream.JetStream, story *storytest.Story, there ...int) {
	t.Helper()
	for _, e := range story.Events[append(there, 0)[0]:] {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: e.Subject, Header: e.Header, Data: e.Data}); err != nil {
			t.Fatal(err)
		}
	}
}

// Web is the Deployment of the story.
var Web = storytest.Key("shop", "web")

// RolloutStory is of a fleet of so many devices, in the middle of a rollout of a second revision:
// the first device has it, another one fails, one is offline.
func RolloutStory(t testing.TB, devices int) *storytest.Story {
	t.Helper()
	s := storytest.New(t)
	name := func(i int) string { return fmt.Sprintf("device-%05d", i) }
	for i := range devices {
		zone := "b"
		if i == 0 {
			zone = "a"
		}
		s.Device(name(i), map[string]string{"site": "lab", "zone": zone})
		s.Online(name(i))
	}
	s.Apply(Web, 1, storytest.Podman("registry.example/web:1"), storytest.Batched)
	start := s.Start(Web, 1, devices)
	for i := range devices {
		s.Give(name(i), Web, 1, 1, start)
		s.Report(name(i), Web, eventlog.PhaseRunning, "", 1)
	}
	s.Run(Web, eventlog.RolloutCompleted, eventlog.Rollout{Revision: 1})
	s.Apply(Web, 2, storytest.Podman("registry.example/web:2"), storytest.Batched, func(d *eventlog.Deployment) { d.ChangeCause = "a new image" })
	start = s.Start(Web, 2, devices)
	s.Give(name(0), Web, 2, 1, start)
	s.Report(name(0), Web, eventlog.PhaseRunning, "", 2)
	if devices > 2 {
		s.State(name(1), Web, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: "CrashLoop", Revision: 1})
		s.Offline(name(2))
	}
	return s
}

// Eventually waits until something holds.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Clock is one that a test moves: pages change by events alone while it stands still.
type Clock struct{ moved atomic.Int64 }

// Use has a dashboard go by the clock.
func (c *Clock) Use(o *dashboard.Options) {
	at := time.Now().Truncate(time.Minute)
	o.Now = func() time.Time { return at.Add(time.Duration(c.moved.Load())) }
}

// Set moves the clock to so much after the time at which it began.
func (c *Clock) Set(after time.Duration) { c.moved.Store(int64(after)) }

// Add moves the clock on.
func (c *Clock) Add(by time.Duration) { c.moved.Add(int64(by)) }
