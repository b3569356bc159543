package eventsapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/eventsapi"
)

// log is an event log with a server of the API before it.
type log struct {
	t       testing.TB
	js      jetstream.JetStream
	handler *eventsapi.Handler
	server  *httptest.Server
	n       int
}

func newLog(t testing.TB) *log {
	t.Helper()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	return serve(t, js)
}

func serve(t testing.TB, js jetstream.JetStream, change ...func(*eventsapi.Options)) *log {
	l := &log{t: t, js: js}
	o := eventsapi.Options{JS: js, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	l.handler = eventsapi.New(o)
	l.server = httptest.NewServer(l.handler)
	t.Cleanup(l.server.Close)
	return l
}

func (l *log) url(query string) string { return l.server.URL + eventsapi.Path + "?" + query }

func (l *log) eventually(what string, holds func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// append appends an event and gives its sequence.
func (l *log) append(d eventlog.Draft) uint64 {
	l.t.Helper()
	l.n++
	d.Time = time.Date(2026, 11, 24, 12, 0, l.n, 0, time.UTC)
	ack, err := l.js.PublishMsg(l.t.Context(), d.Message("test", fmt.Sprintf("ID-%d", l.n)))
	if err != nil {
		l.t.Fatal(err)
	}
	return ack.Sequence
}

func (l *log) say(subject string, typ eventlog.Type, payload any, change ...func(*eventlog.Draft)) uint64 {
	l.t.Helper()
	d, err := eventlog.NewDraft(subject, typ, time.Time{}, payload)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, c := range change {
		c(&d)
	}
	return l.append(d)
}

func (l *log) assign(device, namespace, name string, revision uint64, score string) uint64 {
	return l.append(eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, name), Type: eventlog.DesiredAssigned, Namespace: namespace, Revision: revision, Batch: 2, Data: []byte(score),
	})
}

// body is an answer of the API.
type body struct {
	Events  []map[string]any `json:"events"`
	Next    string           `json:"next"`
	Last    uint64           `json:"last"`
	Partial bool             `json:"partial"`
	Error   string           `json:"error"`
}

// get asks, and asks again where the log could not be read, as on a machine that stands still for
// seconds.
func (l *log) get(query string, header ...string) (resp *http.Response, b body) {
	l.t.Helper()
	for range 10 {
		resp, b = l.ask(query, header...)
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.HasPrefix(b.Error, "the event log cannot be read now") {
			break
		}
		time.Sleep(time.Second) // as the answer says: Retry-After
	}
	return resp, b
}

func (l *log) ask(query string, header ...string) (*http.Response, body) {
	l.t.Helper()
	r, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url(query), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := l.server.Client().Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	var b body
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &b); err != nil {
			l.t.Fatalf("%s: %s is no JSON: %v", query, raw, err)
		}
	}
	return resp, b
}

// all gives the sequences of all pages, in the order in which they come.
func (l *log) all(q url.Values) (sequences []uint64) {
	l.t.Helper()
	cursor := "before"
	if q.Get("order") == "asc" {
		cursor = "after"
	}
	for range 10_000 {
		resp, b := l.get(q.Encode())
		if resp.StatusCode != http.StatusOK {
			l.t.Fatalf("%s: %d %s", q.Encode(), resp.StatusCode, b.Error)
		}
		for _, e := range b.Events {
			sequences = append(sequences, uint64(e["sequence"].(float64)))
		}
		if b.Next == "" {
			return sequences
		}
		q.Set(cursor, b.Next)
	}
	l.t.Fatalf("%s: the pages do not come to an end", q.Encode())
	return nil
}
