// Package dashboardtest serves a dashboard before a real log, for tests.
package dashboardtest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/person"
	"fleet.nationtech.io/operator/internal/eventsapi"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/fleet"
)

// Site is a dashboard before a real log.
type Site struct {
	T         testing.TB
	JS        jetstream.JetStream
	Moments   *moments.Moments
	Dashboard *dashboard.Dashboard
	Server    *httptest.Server
	Persons   map[string]*person.Person // that AsPerson lets ask, by name
}

// AsPerson is the header by which a test says who asks.
const AsPerson = "Test-Person"

// as gives who asks, as what signs persons in does.
func (s *Site) as(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := s.Persons[r.Header.Get(AsPerson)]; p != nil {
			r = r.WithContext(person.With(r.Context(), p))
		}
		next.ServeHTTP(w, r)
	})
}

// New serves a log, and waits until the dashboard has folded it.
func New(t testing.TB, js jetstream.JetStream, change ...func(*dashboard.Options)) *Site {
	t.Helper()
	s := &Site{T: t, JS: js}
	quiet := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	registry := prometheus.NewRegistry()
	s.Moments = moments.New(moments.Options{JS: js, Logger: quiet, Now: time.Now})
	fold := state.New(state.Options{JS: besides(t, js), Logger: quiet})
	o := dashboard.Options{
		JS: js, Moments: s.Moments, Events: eventsapi.New(eventsapi.Options{JS: js, Fold: fold, Registry: registry, Logger: quiet}),
		Registry: registry, Logger: quiet, Now: time.Now,
		FoldTime: time.Minute, // a busy machine folds late
	}
	for _, c := range change {
		c(&o)
	}
	d, err := dashboard.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Dashboard = d
	s.Server = httptest.NewServer(s.as(d.Handler()))
	ctx, stop := context.WithCancel(context.Background())
	var running errgroup.Group
	running.Go(func() error { return s.Moments.Run(ctx) })
	running.Go(func() error { return fold.Run(ctx, nobody{}) })
	t.Cleanup(func() {
		s.Server.CloseClientConnections() // of those who follow
		s.Server.Close()
		stop()
		if err := running.Wait(); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := s.Moments.Sequence(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// besides is another connection to the same server, so that what a test counts on the first one is
// the dashboard's alone.
func besides(t testing.TB, js jetstream.JetStream) jetstream.JetStream {
	t.Helper()
	o := js.Conn().Opts
	nc, err := o.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	other, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// nobody is told of changes.
type nobody struct{}

func (nobody) Changed([]fleet.Key, []string) {}

// Get asks, and gives the answer with its body.
func (s *Site) Get(path string, header ...string) (*http.Response, string) {
	s.T.Helper()
	r, err := http.NewRequestWithContext(s.T.Context(), http.MethodGet, s.Server.URL+path, nil)
	if err != nil {
		s.T.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	answer, err := http.DefaultTransport.RoundTrip(r) // it follows no redirect
	if err != nil {
		s.T.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	return answer, string(body)
}

// Plain is a value as JSON has it.
func Plain(t testing.TB, v any) (out any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
