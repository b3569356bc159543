package eventsapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/eventsapi"
)

func TestWhoFollowsGetsEachEventOnceFromWhereHeWas(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	l := followed(t, js)
	var want []uint64
	for i := range 10 {
		want = append(want, l.online(fmt.Sprintf("pi-%d", i%3)))
	}
	first := l.follow("after=0")
	if got := first.sequences(10); !slices.Equal(got, want) {
		t.Errorf("from the beginning: %v, want %v", got, want)
	}
	first.close()
	for i := range 10 {
		want = append(want, l.online(fmt.Sprintf("pi-%d", i%3)))
	}
	again := l.follow("after=0", "Last-Event-ID", first.id) // as a browser comes back
	if got := again.sequences(10); !slices.Equal(got, want[10:]) {
		t.Errorf("after %s: %v, want %v", first.id, got, want[10:])
	}
	one := l.follow("device=pi-1&after=4")
	var of1 []uint64
	for i, s := range want {
		if i%10%3 == 1 && s > 4 {
			of1 = append(of1, s)
		}
	}
	if got := one.sequences(len(of1)); !slices.Equal(got, of1) {
		t.Errorf("of pi-1: %v, want %v", got, of1)
	}
	next := l.online("pi-1")
	for _, f := range []*feed{again, one} {
		if got := f.sequences(1); got[0] != next {
			t.Errorf("then comes %v, want %d", got, next)
		}
	}
}

// behind is a fold that has folded the log up to one sequence, and catches up with another later.
type behind struct {
	at, then uint64
	waits    func() // it is waited for
	caughtUp chan struct{}
}

func (b *behind) Await(context.Context) (<-chan struct{}, error) { return nil, nil }

func (b *behind) Sequence() uint64 {
	select {
	case <-b.caughtUp:
		return b.then
	default:
		return b.at
	}
}

func (b *behind) WaitFor(ctx context.Context, sequence uint64) error {
	if sequence <= b.at {
		return nil
	}
	b.waits()
	if sequence <= b.then {
		select {
		case <-b.caughtUp:
			return nil
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestWhoComesFromAReplicaThatIsFurtherGetsNoEventAgain(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for range 10 {
		l.online("pi-1")
	}
	fold := &behind{at: 5, then: 10, caughtUp: make(chan struct{})}
	fold.waits = sync.OnceFunc(func() { close(fold.caughtUp) })
	slow := serve(t, l.js, func(o *eventsapi.Options) { o.Fold = fold })
	f := slow.follow("", "Last-Event-ID", "8")
	if got := f.sequences(2); !slices.Equal(got, []uint64{9, 10}) {
		t.Errorf("after event 8 come %v", got)
	}
	f.close()
}

// More events than are kept for streams come all the same, each once and in order, to those who
// follow from long ago and to those who were there.
func TestWhoIsFarBehindCatchesUp(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	l := followed(t, js)
	const events = 6000
	there := l.follow("after=0")
	for range events {
		l.n++
		if _, err := js.PublishMsgAsync(mustDraft(t, l.n).Message("test", fmt.Sprintf("ID-%d", l.n)), jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	behind := l.follow("after=0")
	for name, f := range map[string]*feed{"was there": there, "is behind": behind} {
		for want := uint64(1); want <= events; want++ {
			if e, ok := f.next(); !ok || e.Sequence != want {
				t.Fatalf("who %s gets %d, want %d", name, e.Sequence, want)
			}
		}
	}
}

func mustDraft(t testing.TB, n int) eventlog.Draft {
	t.Helper()
	d, err := eventlog.NewDraft(eventlog.DeviceSubject(fmt.Sprintf("pi-%d", n%5)), eventlog.DeviceOnline, time.Date(2026, 11, 24, 12, 0, 0, n, time.UTC), eventlog.Presence{Reason: "PulseReceived"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAStreamEndsWithItsLog(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	l := followed(t, js)
	l.online("pi-1")
	l.online("pi-1")
	f := l.follow("after=0")
	f.sequences(2)
	if err := js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	natstest.EnsureLog(t, js, 1)
	l.n = 100
	l.online("phoenix")
	for {
		if e, ok := f.next(); !ok {
			break
		} else if e.Device == "phoenix" {
			t.Fatal("a stream goes on with another log")
		}
	}
	back := l.follow("after=1000") // of a log that is longer than this one
	came := make(chan bool, 1)
	go func() {
		e, ok := back.next()
		came <- ok && e.Device == "phoenix"
	}()
	l.eventually("the other log is followed", func() bool {
		l.online("phoenix")
		select {
		case is := <-came:
			return is
		default:
			return false
		}
	})
}

// Where the server of NATS does not answer, a stream whose client went away does not wait for another
// one that reads; and that one does not read for ever.
func TestAStreamWaitsForTheReadOfAnotherNoLongerThanItsClient(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	proxy := s.Proxy(t)
	_, js := proxy.Connect(t)
	natstest.EnsureLog(t, js, 1)
	l := serve(t, js)
	last := l.online("pi-1")
	asked := make(chan struct{})
	once := sync.OnceFunc(func() { close(asked) })
	proxy.Drop(func(subject string) bool {
		message := strings.HasPrefix(subject, "_INBOX.") && strings.Count(subject, ".") == 1 // of the log; what is said of it comes to _INBOX.x.y
		if message {
			once()
		}
		return message
	})
	reads, waits := make(chan error, 1), make(chan error, 1)
	go func() { reads <- l.handler.ReadRecent(t.Context(), last) }()
	<-asked
	gone, leave := context.WithCancel(t.Context())
	leave()
	go func() { waits <- l.handler.ReadRecent(gone, last) }()
	select {
	case err := <-waits:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("whose client went away ends by %v", err)
		}
	case err := <-reads:
		t.Fatalf("whose client went away waits until the other one ends (by %v)", err)
	}
	if err := <-reads; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who reads ends by %v", err)
	}
}

func TestWhoCannotFollowIsToldWhy(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for query, want := range map[string]string{"": "cannot be followed here"} {
		code, text := l.refused(query)
		if code != http.StatusNotAcceptable || !strings.Contains(text, want) {
			t.Errorf("%q: %d %s", query, code, text)
		}
	}
	_, js := natstest.Start(t).Connect(t)
	natstest.EnsureLog(t, js, 1)
	l = followed(t, js)
	for query, want := range map[string]string{
		"data=true": "without its payload", "order=desc": "as it comes", "until=5": "as it comes", "after=x": "no sequence", "devices=1": "did you mean device",
		"type=rolout.": "no event type", "type=rollout.&device=a": "no event is of such a type",
	} {
		code, text := l.refused(query)
		if code != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%q: %d %s, want something with %q", query, code, text, want)
		}
	}
}

func TestOneStreamTooManyIsToldWhenToComeAgain(t *testing.T) {
	t.Parallel()
	l := followed(t, newLog(t).js)
	l.handler.FillStreams()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, eventsapi.Path, nil)
	r.Header.Set("Accept", "text/event-stream")
	w := httptest.NewRecorder()
	l.handler.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "follow the event log already") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// refused asks to follow and gives the answer.
func (l *log) refused(query string) (int, string) {
	l.t.Helper()
	r, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url(query), nil)
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// A client that asks for the head of a stream has its answer at once, and takes no place from those
// who follow.
func TestTheHeadOfAStreamEnds(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.online("pi-1")
	f := followed(t, l.js)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, f.url(""), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	done := make(chan *httptest.ResponseRecorder)
	go func() {
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r)
		done <- w
	}()
	select {
	case w := <-done:
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" || w.Body.Len() > 0 {
			t.Errorf("%d, %s, %q", w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	case <-time.After(time.Minute):
		t.Error("the answer to HEAD does not end")
	}
}

func TestAStreamIsForThoseWhoAskForOne(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.online("pi-1")
	f := followed(t, l.js)
	const one, other = "text/event-stream", "application/json"
	for accept, want := range map[string]string{
		"": other, "*/*": other, "text/*": other, "application/json": other, "text/event-streams": other, ";": other,
		"text/event-stream": one, "TEXT/Event-Stream; q=0.1": one, "application/json, text/event-stream": one,
		"text/event-stream;q=0": other, "text/event-stream; q=0.000, */*": other, "text/event-stream;q=much": other,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, f.url(""), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != want {
			t.Errorf("Accept: %s answers %d, %s; want %s", accept, w.Code, got, want)
		}
	}
}
