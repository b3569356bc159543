package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/backup"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/natstest"
)

// store is an S3-compatible store with faults.
type store struct {
	t   *testing.T
	url string

	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request, next http.Handler) (done bool)
	asked []string
}

func newStore(t *testing.T) *store {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("backups"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(backend, gofakes3.WithoutVersioning()).Server()
	s := &store{t: t}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		fault := s.fault
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		if fault == nil || !fault(w, r, fake) {
			fake.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *store) behave(f func(w http.ResponseWriter, r *http.Request, next http.Handler) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// place is the store as a place.
func (s *store) place(text string) backup.Place {
	s.t.Helper()
	p, _, err := backup.Open(text, s.env)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *store) env(k string) string {
	return map[string]string{backup.EnvEndpoint: s.url, backup.EnvAccessKey: "key", backup.EnvSecretKey: "very-secret"}[k]
}

// denied answers as a store does that refuses.
func denied(w http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>`)
	return true
}

// cut ends the connection of a request after so many bytes of its answer, the first
// times.
func cut(after, times int) func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, ".archive") {
			return false
		}
		mu.Lock()
		times--
		done := times < 0
		mu.Unlock()
		if done {
			return false
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(answer.Code)
		body := answer.Body.Bytes()
		_, _ = w.Write(body[:min(after, len(body)/2)])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// damage turns a bit of each archive that is read.
func damage(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, ".archive") {
		return false
	}
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	body := bytes.Clone(answer.Body.Bytes())
	body[len(body)/2] ^= 1
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
	return true
}

// stalled takes a request and never answers.
func stalled(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	return true
}

// aLog is a server with a log of some hundred events.
func aLog(t *testing.T) (*natstest.Server, *nats.Conn) {
	t.Helper()
	server := natstest.Start(t)
	nc, js := server.Connect(t)
	natstest.EnsureLog(t, js, 1)
	grow(t, nc, 200)
	return server, nc
}

// grow appends so many events to the log.
func grow(t *testing.T, nc *nats.Conn, events int) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		d, err := eventlog.NewDraft(eventlog.DeviceSubject(fmt.Sprintf("pi-%d", i)), eventlog.DeviceRegistered, time.Now(), eventlog.Registration{AgentVersion: strings.Repeat("x", 500)})
		if err == nil {
			_, err = appender.Unfenced(t.Context(), js, "test", d)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// clock is one that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func names(t *testing.T, p backup.Place) map[string]bool {
	t.Helper()
	files, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, f := range files {
		all[f.Name] = true
	}
	return all
}

// either says whether an error is one of several.
func either(err error, of ...error) bool {
	for _, o := range of {
		if errors.Is(err, o) {
			return true
		}
	}
	return false
}
