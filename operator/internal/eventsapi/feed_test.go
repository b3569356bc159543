package eventsapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/eventsapi"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/fleet"
)

// noObserver is told of changes and does nothing.
type noObserver struct{}

func (noObserver) Changed([]fleet.Key, []string) {}

// followed is a log whose API follows it by the operator's own fold.
func followed(t testing.TB, js jetstream.JetStream) *log {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	fold := state.New(state.Options{JS: js, Logger: quiet})
	l := &log{t: t, js: js, handler: eventsapi.New(eventsapi.Options{JS: js, Fold: fold, Registry: prometheus.NewRegistry(), Logger: quiet})}
	ctx, stop := context.WithCancel(context.Background())
	l.server = httptest.NewUnstartedServer(l.handler)
	l.server.Start()
	done := make(chan error, 1)
	go func() { done <- fold.Run(ctx, noObserver{}) }()
	t.Cleanup(func() {
		l.server.CloseClientConnections()
		l.server.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

// feed is a client that follows the log.
type feed struct {
	t     testing.TB
	body  *bufio.Reader
	close func()
	id    string // the last one
}

func (l *log) follow(query string, header ...string) *feed {
	l.t.Helper()
	ctx, stop := context.WithCancel(l.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url(query), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		l.t.Fatalf("%s, %s", answer.Status, answer.Header.Get("Content-Type"))
	}
	f := &feed{t: l.t, body: bufio.NewReader(answer.Body), close: func() { stop(); answer.Body.Close() }}
	l.t.Cleanup(f.close)
	return f
}

// next reads one event; false at the stream's end.
func (f *feed) next() (e struct {
	Sequence uint64
	Type     string
	Device   string
}, ok bool,
) {
	f.t.Helper()
	for {
		line, err := f.body.ReadString('\n')
		if err != nil {
			if err != io.EOF && f.t.Context().Err() == nil && !strings.Contains(err.Error(), "canceled") && !strings.Contains(err.Error(), "closed") {
				f.t.Logf("the stream ends: %v", err)
			}
			return e, false
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			f.id = strings.TrimSpace(id)
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				f.t.Fatal(err)
			}
			if strconv.FormatUint(e.Sequence, 10) != f.id {
				f.t.Errorf("event %d has the id %s", e.Sequence, f.id)
			}
			return e, true
		}
	}
}

// sequences reads so many events.
func (f *feed) sequences(n int) (all []uint64) {
	f.t.Helper()
	for range n {
		e, ok := f.next()
		if !ok {
			f.t.Fatalf("the stream ended after %v", all)
		}
		all = append(all, e.Sequence)
	}
	return all
}

func (l *log) online(device string) uint64 {
	return l.say(eventlog.DeviceSubject(device), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseReceived"})
}
