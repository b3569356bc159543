package session_test

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/agent/bus/bustest"
	"fleet.nationtech.io/agent/reject"
	"fleet.nationtech.io/agent/session"
	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

const device = "pi-01"

// memory is a store without a file.
type memory struct {
	mu       sync.Mutex
	desired  map[string]store.Desired
	position store.Position
}

func (m *memory) Desired() (all []store.Desired) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.desired {
		all = append(all, d)
	}
	return all
}

func (m *memory) Position() store.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.position
}

func (m *memory) Apply(changes []store.Desired, p store.Position) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range changes {
		m.desired[d.Deployment] = d
	}
	m.position = p
	return nil
}

func (m *memory) of(deployment string) store.Desired {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.desired[deployment]
}

// operator answers syncs by hand.
type operator struct {
	t  *testing.T
	nc *nats.Conn

	mu     sync.Mutex
	asked  int
	answer func(o *operator, m *nats.Msg)
}

func newOperator(t *testing.T, nc *nats.Conn, answer func(*operator, *nats.Msg)) *operator {
	t.Helper()
	o := &operator{t: t, nc: nc, answer: answer}
	if _, err := nc.Subscribe(eventlog.SyncSubject(device), func(m *nats.Msg) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.asked++
		o.answer(o, m)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *operator) then(answer func(*operator, *nats.Msg)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

func (o *operator) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func (o *operator) publish(m *nats.Msg) {
	if err := o.nc.PublishMsg(m); err != nil && o.t.Context().Err() == nil {
		o.t.Error(err)
	}
}

func (o *operator) value(q *nats.Msg, deployment, data string, sequence int) {
	m := nats.NewMsg(q.Reply)
	m.Data = []byte(data)
	m.Header.Set(eventlog.HeaderSync, q.Header.Get(eventlog.HeaderSync))
	m.Header.Set(eventlog.HeaderKey, eventlog.DesiredKey(device, deployment))
	m.Header.Set(eventlog.HeaderStreamSource, "FLEET "+strconv.Itoa(sequence))
	o.publish(m)
}

func (o *operator) end(q *nats.Msg, log string, sequence uint64, count int) {
	m := nats.NewMsg(q.Reply)
	m.Header.Set(eventlog.HeaderSync, q.Header.Get(eventlog.HeaderSync))
	m.Header.Set(eventlog.HeaderSyncEnd, "true")
	m.Data, _ = json.Marshal(eventlog.SyncEnd{LogID: log, LogSequence: sequence, Count: count})
	o.publish(m)
}

func (o *operator) refuse(q *nats.Msg, reason string) {
	m := nats.NewMsg(q.Reply)
	m.Header.Set(eventlog.HeaderSync, q.Header.Get(eventlog.HeaderSync))
	m.Header.Set(eventlog.HeaderSyncError, reason)
	o.publish(m)
}

// live republishes as the server does.
func (o *operator) live(deployment, data string, sequence, bucket, before int) {
	m := nats.NewMsg(eventlog.LiveSubject(device, deployment))
	m.Data = []byte(data)
	m.Header.Set("Nats-Subject", "$KV.desired-state."+device+"."+deployment)
	m.Header.Set("Nats-Stream-Source", "FLEET "+strconv.Itoa(sequence))
	m.Header.Set("Nats-Sequence", strconv.Itoa(bucket))
	m.Header.Set("Nats-Last-Sequence", strconv.Itoa(before))
	o.publish(m)
}

func whole(log string, sequence int, data string) func(*operator, *nats.Msg) {
	return func(o *operator, m *nats.Msg) {
		o.value(m, "web", data, sequence)
		o.end(m, log, uint64(sequence), 1)
	}
}

type running struct {
	*session.Session
	store      *memory
	changed    chan struct{}
	logChanged chan struct{}
	registry   *prometheus.Registry
}

func start(t *testing.T, nc *nats.Conn, o session.Options) *running {
	t.Helper()
	r := &running{
		store:   &memory{desired: map[string]store.Desired{}},
		changed: make(chan struct{}, 100), logChanged: make(chan struct{}, 100), registry: prometheus.NewRegistry(),
	}
	rejected, err := reject.New(nil, r.registry)
	if err != nil {
		t.Fatal(err)
	}
	o.Device, o.Bus, o.Store, o.Rejected, o.Registerer = device, bustest.Of(t, nc), r.store, rejected, r.registry
	o.Changed = func() { r.changed <- struct{}{} }
	o.LogChanged = func() { r.logChanged <- struct{}{} }
	if o.Retry == 0 {
		o.Retry = 10 * time.Millisecond
	}
	if r.Session, err = session.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	// A connection is tried again after up to 15 s, on a busy machine later.
	const timeout = time.Minute
	for deadline := time.Now().Add(timeout); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", timeout, what)
		}
		time.Sleep(5 * time.Millisecond) // poll
	}
}

func (r *running) has(deployment, value string) func() bool {
	return func() bool { return string(r.store.of(deployment).Value) == value }
}

func deviceConn(t *testing.T, s *natstest.Server) *nats.Conn {
	t.Helper()
	nc, _ := s.Connect(t, nats.CustomInboxPrefix(eventlog.InboxPrefix(device)), nats.ReconnectBufSize(-1))
	return nc
}

func TestItAsksUntilItIsAnswered(t *testing.T) {
	t.Parallel()
	tests := map[string]func(o *operator, m *nats.Msg){
		"nobody answers":                       func(*operator, *nats.Msg) {},
		"the replica still reads the log":      func(o *operator, m *nats.Msg) { o.refuse(m, eventlog.SyncNotReady) },
		"the bucket is being rebuilt":          func(o *operator, m *nats.Msg) { o.refuse(m, eventlog.SyncRebuilding) },
		"the reason is one of a later version": func(o *operator, m *nats.Msg) { o.refuse(m, "Later") },
		"a part of the answer is lost":         func(o *operator, m *nats.Msg) { o.value(m, "web", "{1}", 1); o.end(m, "A", 1, 2) },
		"the end is lost":                      func(o *operator, m *nats.Msg) { o.value(m, "web", "{1}", 1) },
		"the end comes without a log":          func(o *operator, m *nats.Msg) { o.end(m, "", 1, 0) },
		"the answer is to another's question":  func(o *operator, m *nats.Msg) { m.Header.Set(eventlog.HeaderSync, "x"); whole("A", 1, "{1}")(o, m) },
		"the answer is an acknowledgement": func(o *operator, m *nats.Msg) {
			o.publish(&nats.Msg{Subject: m.Reply, Data: []byte(`{"stream":"FLEET","seq":1}`)})
		},
		"the server says that nobody is there": func(o *operator, m *nats.Msg) {
			o.publish(&nats.Msg{Subject: m.Reply, Header: nats.Header{"Status": {"503"}}})
		},
	}
	for name, bad := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.Start(t)
			nc, _ := server.Connect(t)
			o := newOperator(t, nc, bad)
			s := start(t, deviceConn(t, server), session.Options{Timeout: time.Second, MaxRetry: 50 * time.Millisecond})
			await(t, "a third question", func() bool { return o.count() > 2 })
			if got := s.store.of("web"); got.Sequence != 0 {
				t.Errorf("believed %+v", got)
			}
			o.then(whole("A", 5, "{5}"))
			await(t, "the answer", s.has("web", "{5}"))
			if p := s.store.Position(); p != (store.Position{LogID: "A", Sequence: 5}) {
				t.Errorf("position %v", p)
			}
		})
	}
}

func TestItFollowsLiveAndAsksAgainAtAGap(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc, _ := server.Connect(t)
	o := newOperator(t, nc, whole("A", 5, "{5}"))
	s := start(t, deviceConn(t, server), session.Options{})
	await(t, "the answer", s.has("web", "{5}"))
	asked := o.count()
	o.live("web", "{6}", 6, 2, 1)
	await(t, "a live value", s.has("web", "{6}"))
	o.live("web", "{7}", 7, 3, 2)
	await(t, "the next", s.has("web", "{7}"))
	if n := o.count(); n != asked {
		t.Errorf("asked %d times more", n-asked)
	}
	o.then(whole("A", 9, "{9}"))
	o.live("web", "{9}", 9, 5, 4) // the one of sequence 8 is missing
	await(t, "a second question", func() bool { return o.count() > asked })
	await(t, "what it says", s.has("web", "{9}"))
	asked = o.count()
	s.Resync()
	await(t, "a third, for it was told to", func() bool { return o.count() > asked })
}

func TestItAsksAgainFromTimeToTimeAndAtEachConnection(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc, _ := server.Connect(t)
	o := newOperator(t, nc, whole("A", 5, "{5}"))
	s := start(t, deviceConn(t, server), session.Options{Resync: 300 * time.Millisecond, MaxRetry: 100 * time.Millisecond})
	await(t, "three questions", func() bool { return o.count() > 2 })
	server.Stop()
	o.then(whole("B", 2, "{2}")) // while it was away, the log was made again
	server.Start()
	await(t, "what the new log says", s.has("web", "{2}"))
	select {
	case <-s.logChanged:
	case <-time.After(30 * time.Second):
		t.Error("nobody was told that the log is another")
	}
}

func TestALogThatWentBackIsBelievedWhenItInsists(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc, _ := server.Connect(t)
	o := newOperator(t, nc, whole("A", 50, "{50}"))
	const timeout = 500 * time.Millisecond
	s := start(t, deviceConn(t, server), session.Options{StaleGrace: timeout, MaxRetry: 50 * time.Millisecond})
	await(t, "the answer", s.has("web", "{50}"))
	o.then(whole("A", 20, "{20}"))
	began := time.Now()
	s.Resync()
	await(t, "the log's word", s.has("web", "{20}"))
	if d := time.Since(began); d < timeout {
		t.Errorf("believed after %v", d)
	}
	<-s.logChanged
}

func TestWhatIsAimedAtADeviceIsCounted(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	nc, _ := server.Connect(t)
	o := newOperator(t, nc, whole("A", 5, "{5}"))
	s := start(t, deviceConn(t, server), session.Options{})
	await(t, "the answer", s.has("web", "{5}"))
	for range 3 {
		o.publish(&nats.Msg{Subject: eventlog.LiveSubject(device, "web"), Data: []byte(`{"stream":"FLEET","seq":99}`)})
		o.value(&nats.Msg{Reply: eventlog.LiveSubject(device, "web"), Header: nats.Header{eventlog.HeaderSync: {"n"}}}, "web", "{99}", 99)
	}
	o.live("other", "{6}", 6, 2, 1)
	await(t, "what comes after", s.has("other", "{6}"))
	if got := s.store.of("web"); string(got.Value) != "{5}" {
		t.Errorf("web is %s", got.Value)
	}
	if n, err := testutil.GatherAndCount(s.registry, "fleet_agent_messages_rejected_total"); n != 2 || err != nil {
		t.Errorf("%d reasons counted, %v", n, err)
	}
}
