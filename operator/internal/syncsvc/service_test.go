package syncsvc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/operator/internal/syncsvc"
	"fleet.nationtech.io/projections/buckets"
)

// fold says what a test wants of a position.
type fold struct {
	mu    sync.Mutex
	ready bool
	at    state.Position
}

func (f *fold) Position(string) (state.Position, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at, f.ready
}

func (f *fold) set(p state.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.ready = p, true
}

type world struct {
	t    *testing.T
	nc   *nats.Conn
	js   jetstream.JetStream
	fold *fold
	log  logstream.Info
}

func newWorld(t *testing.T) *world {
	nc, js := natstest.Start(t).Connect(t)
	log, err := logstream.Ensure(t.Context(), js, logstream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := buckets.Ensure(t.Context(), js, buckets.Config{}); err != nil {
		t.Fatal(err)
	}
	return &world{t: t, nc: nc, js: js, fold: &fold{}, log: log}
}

// serve runs a service until the test ends.
func (w *world) serve(bucket syncsvc.Bucket, o syncsvc.Options) { w.serveWith(w.fold, bucket, o) }

// serveWith runs a service until stop, or the test's end.
func (w *world) serveWith(f syncsvc.Fold, bucket syncsvc.Bucket, o syncsvc.Options) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	before := w.nc.NumSubscriptions() // the client has one of its own for answers
	go func() { done <- syncsvc.New(w.nc, f, bucket, o).Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	for w.nc.NumSubscriptions() == before { // poll: Run subscribes when it gets its turn
		time.Sleep(time.Millisecond)
	}
	if err := w.nc.Flush(); err != nil {
		w.t.Fatal(err)
	}
	return stop
}

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func (w *world) append(device, name string, typ eventlog.Type, data string) uint64 {
	w.t.Helper()
	seq, err := appender.Unfenced(w.t.Context(), w.js, "test", eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, name), Type: typ, Time: time.Now(),
		Namespace: "shop", Revision: 3, Traceparent: traceparent, Data: []byte(data),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

func (w *world) position(last uint64, names ...string) state.Position {
	return state.Position{LogID: w.log.ID, Sequence: last, LastDesired: last, Names: names}
}

// ask plays a device: it gives the answer's messages, end or error included.
func (w *world) ask(device, nonce string) []*nats.Msg {
	w.t.Helper()
	inbox := w.nc.NewRespInbox()
	sub, err := w.nc.SubscribeSync(inbox)
	if err != nil {
		w.t.Fatal(err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection closes with the test
	body, _ := json.Marshal(map[string]string{"nonce": nonce})
	err = w.nc.PublishMsg(&nats.Msg{Subject: "fleet.sync." + device, Reply: inbox, Data: body, Header: nats.Header{"Fleet-Sync": {nonce}}})
	if err != nil {
		w.t.Fatal(err)
	}
	var got []*nats.Msg
	for {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			w.t.Fatalf("after %d messages: %v", len(got), err)
		}
		got = append(got, m)
		if m.Header.Get("Fleet-Sync-End") != "" || m.Header.Get("Fleet-Sync-Error") != "" {
			return got
		}
	}
}

func TestAnAnswerIsTheWholeDesiredSetWithDeleteMarkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("pi-01", "web", eventlog.DesiredAssigned, `{"type":"PodmanV0"}`)
	w.append("pi-02", "web", eventlog.DesiredAssigned, `{"type":"Other"}`)
	last := w.append("pi-01", "old", eventlog.DesiredWithdrawn, "")
	w.fold.set(w.position(last))
	w.serve(syncsvc.DesiredState{JS: w.js}, syncsvc.Options{})

	var got []string
	for _, m := range w.ask("pi-01", "nonce-0001") {
		if m.Header.Get("Nats-Subject") != "" {
			t.Errorf("the answer has a header Nats-Subject: %v", m.Header)
		}
		if value := m.Header.Get("Fleet-Sync-End") == ""; value != (m.Header.Get("traceparent") == traceparent) {
			t.Errorf("the trace is on each value, and not on the end: %v", m.Header)
		}
		source, _, _ := strings.Cut(m.Header.Get("Nats-Stream-Source"), " f")
		got = append(got, fmt.Sprint(m.Header.Get("Fleet-Sync"), "|", m.Header.Get("Fleet-Key"), "|", source, "|", m.Header.Get("KV-Operation"),
			"|", m.Header.Get("Fleet-Namespace"), "|", m.Header.Get("Fleet-Revision"), "|", m.Header.Get("Fleet-Sync-End"), "|", string(m.Data)))
	}
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], w.log.ID, "LOG")
	}
	want := []string{
		`nonce-0001|pi-01.web|FLEET 1||shop|3||{"type":"PodmanV0"}`,
		`nonce-0001|pi-01.old|FLEET 3|DEL|shop|3||`,
		`nonce-0001||||||true|{"log_id":"LOG","log_sequence":3,"count":2}`,
	}
	for i := range got[:min(2, len(got))] { // the header's further fields are the server's
		f := strings.SplitN(got[i], "|", 4)
		f[2] = strings.Join(strings.Fields(f[2])[:2], " ")
		got[i] = strings.Join(f, "|")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if end := w.ask("pi-99", "nonce-0002"); len(end) != 1 {
		t.Errorf("a device with nothing gets %d messages, want just the end", len(end))
	}
}

func TestMoreKeysThanOneDirectGetGives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 1500
	var names []string
	var last uint64
	desired := map[string]uint64{}
	for i := range n {
		names = append(names, fmt.Sprintf("d%d", i))
		last = w.append("pi-01", names[i], eventlog.DesiredAssigned, `{"type":"PodmanV0"}`)
		desired[names[i]] = last
	}
	position := w.position(last, names...)
	position.Desired = desired // the bucket may still be filling as the first piece is read
	w.fold.set(position)
	w.serve(syncsvc.DesiredState{JS: w.js}, syncsvc.Options{Timeout: 30 * time.Second})
	keys := map[string]bool{}
	for _, m := range w.ask("pi-01", "nonce-0001") {
		keys[m.Header.Get("Fleet-Key")] = true
	}
	if len(keys) != n+1 { // and the end's empty one
		t.Errorf("%d keys, want %d", len(keys)-1, n)
	}
}

func TestNoAnswerFromABucketThatDoesNotAgreeWithTheFold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	last := w.append("pi-01", "web", eventlog.DesiredAssigned, `{"type":"PodmanV0"}`)
	if err := buckets.WaitFor(t.Context(), w.js, eventlog.BucketDesired, last); err != nil {
		t.Fatal(err)
	}
	w.serve(syncsvc.DesiredState{JS: w.js}, syncsvc.Options{Timeout: 100 * time.Millisecond})
	reason := func() string {
		t.Helper()
		return w.ask("pi-01", "nonce-0001")[0].Header.Get("Fleet-Sync-Error")
	}
	if got := reason(); got != "NotReady" {
		t.Errorf("before the fold has caught up: %q, want NotReady", got)
	}
	w.fold.set(w.position(last + 7))
	if got := reason(); got != "Rebuilding" {
		t.Errorf("the bucket lags: %q, want Rebuilding", got)
	}
	w.fold.set(state.Position{LogID: w.log.ID})
	if got := reason(); got != "Rebuilding" {
		t.Errorf("the bucket knows more than the fold (another log's): %q, want Rebuilding", got)
	}
	w.fold.set(w.position(last))
	if got := reason(); got != "" {
		t.Errorf("the bucket agrees: %q, want an answer", got)
	}
	if err := w.js.DeleteStream(t.Context(), "KV_desired-state"); err != nil {
		t.Fatal(err)
	}
	if got := reason(); got != "NotReady" {
		t.Errorf("the bucket is gone: %q, want NotReady", got)
	}
}

// slow is a bucket that holds its readers up until it is let go.
type slow struct {
	entered chan string
	release chan struct{}
}

func (s *slow) Read(ctx context.Context, device string, _ []string) ([]*nats.Msg, error) {
	s.entered <- device
	select {
	case <-s.release:
	case <-ctx.Done():
	}
	return nil, nil
}

func TestBeyondTheQueueDevicesAreToldToAskAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fold.set(w.position(0))
	b := &slow{entered: make(chan string, 16), release: make(chan struct{})}
	w.serve(b, syncsvc.Options{Workers: 1, Waiting: 2})
	inbox := w.nc.NewRespInbox()
	sub, err := w.nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	send := func(device, nonce string) {
		t.Helper()
		err := w.nc.PublishMsg(&nats.Msg{Subject: "fleet.sync." + device, Reply: inbox, Header: nats.Header{"Fleet-Sync": {nonce}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	send("a", "question-a1")
	if got := <-b.entered; got != "a" {
		t.Fatalf("first served: %s", got)
	}
	for _, q := range []string{"b", "b", "b", "c", "d"} { // b asks thrice and takes one place
		send(q, "question-"+q)
	}
	m, err := sub.NextMsg(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("Fleet-Sync-Error") != "Busy" || m.Header.Get("Fleet-Sync") != "question-d" {
		t.Errorf("beyond the queue: %v, want Busy for d", m.Header)
	}
	close(b.release)
	var ends []string
	for range 3 {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, m.Header.Get("Fleet-Sync"))
	}
	slices.Sort(ends)
	if diff := cmp.Diff([]string{"question-a1", "question-b", "question-c"}, ends); diff != "" {
		t.Errorf("answered (-want +got):\n%s", diff)
	}
}

func TestBadQuestionsGetNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fold.set(w.position(0))
	w.serve(syncsvc.DesiredState{JS: w.js}, syncsvc.Options{})
	tests := map[string]*nats.Msg{
		"no nonce":                   {},
		"a nonce too short":          {Header: nats.Header{"Fleet-Sync": {"short"}}},
		"a nonce too long":           {Header: nats.Header{"Fleet-Sync": {strings.Repeat("a", 65)}}},
		"a nonce with other letters": {Header: nats.Header{"Fleet-Sync": {"nonce 0001\t"}}},
		"two nonces":                 {Header: nats.Header{"Fleet-Sync": {"nonce-0001"}}, Data: []byte(`{"nonce":"nonce-0002"}`)},
		"a payload that is not JSON": {Header: nats.Header{"Fleet-Sync": {"nonce-0001"}}, Data: []byte("{")},
		"a device that can be no id": {Subject: "fleet.sync.Bad_Id", Header: nats.Header{"Fleet-Sync": {"nonce-0001"}}},
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) {
			sub, err := w.nc.SubscribeSync(w.nc.NewRespInbox())
			if err != nil {
				t.Fatal(err)
			}
			m.Reply = sub.Subject
			if m.Subject == "" {
				m.Subject = "fleet.sync.pi-01"
			}
			if err := w.nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			w.ask("pi-01", "nonce-after") // answered, so the bad one was looked at
			if n, _, err := sub.Pending(); err != nil || n > 0 {
				t.Errorf("%d answers (%v), want none", n, err)
			}
		})
	}
}
