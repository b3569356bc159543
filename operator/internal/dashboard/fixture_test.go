package dashboard_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/eventsapi"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
)

// site is a dashboard before a real log.
type site struct {
	t       testing.TB
	js      jetstream.JetStream
	moments *moments.Moments
	server  *httptest.Server
}

// newSite serves a log, and waits until the dashboard has folded it.
func newSite(t testing.TB, js jetstream.JetStream, change ...func(*dashboard.Options)) *site {
	t.Helper()
	s := &site{t: t, js: js}
	quiet := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	registry := prometheus.NewRegistry()
	s.moments = moments.New(moments.Options{JS: js, Logger: quiet, Now: time.Now})
	fold := state.New(state.Options{JS: js, Logger: quiet})
	o := dashboard.Options{
		JS: js, Moments: s.moments, Events: eventsapi.New(eventsapi.Options{JS: js, Fold: fold, Registry: registry, Logger: quiet}),
		Registry: registry, Logger: quiet, Now: time.Now,
	}
	for _, c := range change {
		c(&o)
	}
	d, err := dashboard.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewServer(d.Handler())
	ctx, stop := context.WithCancel(context.Background())
	var running errgroup.Group
	running.Go(func() error { return s.moments.Run(ctx) })
	running.Go(func() error { return fold.Run(ctx, nobody{}) })
	t.Cleanup(func() {
		s.server.CloseClientConnections() // of those who follow
		s.server.Close()
		stop()
		if err := running.Wait(); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := s.moments.Sequence(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// nobody is told of changes.
type nobody struct{}

func (nobody) Changed([]fleet.Key, []string) {}

// get asks, and gives the answer with its body.
func (s *site) get(path string, header ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.server.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	answer, err := http.DefaultTransport.RoundTrip(r) // it follows no redirect
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer, string(body)
}

// newLog makes an empty log on a server of its own.
func newLog(t testing.TB) jetstream.JetStream {
	t.Helper()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	return js
}

// publish puts the events of a story into a log, but for those that are there already.
func publish(t testing.TB, js jetstream.JetStream, story *storytest.Story, there ...int) {
	t.Helper()
	for _, e := range story.Events[append(there, 0)[0]:] {
		if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: e.Subject, Header: e.Header, Data: e.Data}); err != nil {
			t.Fatal(err)
		}
	}
}

// web is the Deployment of the story.
var web = storytest.Key("shop", "web")

// rolloutStory is of a fleet of so many devices, in the middle of a rollout of a second revision:
// the first device has it, another one fails, one is offline.
func rolloutStory(t testing.TB, devices int) *storytest.Story {
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
	s.Apply(web, 1, storytest.Podman("registry.example/web:1"), storytest.Batched)
	start := s.Start(web, 1, devices)
	for i := range devices {
		s.Give(name(i), web, 1, 1, start)
		s.Report(name(i), web, eventlog.PhaseRunning, "", 1)
	}
	s.Run(web, eventlog.RolloutCompleted, eventlog.Rollout{Revision: 1})
	s.Apply(web, 2, storytest.Podman("registry.example/web:2"), storytest.Batched, func(d *eventlog.Deployment) { d.ChangeCause = "a new image" })
	start = s.Start(web, 2, devices)
	s.Give(name(0), web, 2, 1, start)
	s.Report(name(0), web, eventlog.PhaseRunning, "", 2)
	if devices > 2 {
		s.State(name(1), web, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: "CrashLoop", Revision: 1})
		s.Offline(name(2))
	}
	return s
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
