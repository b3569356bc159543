package report_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/agent/bus/bustest"
	"fleet.nationtech.io/agent/report"
	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

const device = "pi-01"

// timeout is for machines that do much else at the same time: what comes true
// at all comes in milliseconds on others.
const timeout = time.Minute

// world is a server with the log, and a store that outlives reporters.
type world struct {
	t      *testing.T
	server *natstest.Server
	js     jetstream.JetStream
	nc     *nats.Conn
	store  *store.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: natstest.Start(t)}
	w.nc, w.js = w.server.Connect(t)
	if _, err := logstream.Ensure(t.Context(), w.js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.store, err = store.Open(filepath.Join(t.TempDir(), "agent.db"), store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// run starts a reporter; stop ends it.
func (w *world) run() (r *report.Reporter, stop func()) {
	w.t.Helper()
	nc, _ := w.server.Connect(w.t, nats.CustomInboxPrefix(eventlog.InboxPrefix(device)), nats.ReconnectBufSize(-1))
	r, err := report.New(report.Options{Device: device, Store: w.store, Bus: bustest.Of(w.t, nc), PulseInterval: 100 * time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		nc.Close()
	})
	w.t.Cleanup(stop)
	return r, stop
}

// log reads all of the log.
func (w *world) log() []eventlog.Event {
	s, err := w.js.Stream(w.t.Context(), eventlog.LogStream)
	if err != nil {
		return nil
	}
	info, err := s.Info(w.t.Context())
	if err != nil {
		return nil
	}
	var events []eventlog.Event
	for n := uint64(1); n <= info.State.LastSeq; n++ {
		m, err := reader.MessageAt(w.t.Context(), w.js, eventlog.LogStream, n)
		if err != nil {
			return nil
		}
		e, err := eventlog.Decode(m.Subject, m.Header, m.Data, n, m.Time)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := eventlog.Check(e); err != nil {
			w.t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

func (w *world) until(what string, ok func([]eventlog.Event) bool) []eventlog.Event {
	w.t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		events := w.log()
		if ok(events) {
			return events
		}
		if time.Now().After(deadline) {
			for _, e := range events {
				w.t.Logf("%d %s %s %s", e.Sequence, e.Subject, e.Counter, e.Data)
			}
			w.t.Fatalf("not in %s: %s", timeout, what)
		}
		time.Sleep(10 * time.Millisecond) // poll
	}
}

func state(deployment string, restarts int) eventlog.DeploymentState {
	return eventlog.DeploymentState{
		DeviceID: device, Deployment: deployment, Phase: eventlog.PhaseRunning, LastEventAt: time.Now(),
		Services: []eventlog.ServiceState{{Name: "web", State: "running", Restarts: restarts}},
	}
}

func restartsOf(t *testing.T, e eventlog.Event) int {
	t.Helper()
	s, err := e.State()
	if err != nil {
		t.Fatal(err)
	}
	return s.Services[0].Restarts
}

func atLeast(n int) func([]eventlog.Event) bool {
	return func(es []eventlog.Event) bool { return len(es) >= n }
}

// inOrder is the guarantee: numbers rise by one, from one, in one epoch.
func inOrder(t *testing.T, events []eventlog.Event) {
	t.Helper()
	for i, e := range events {
		if e.Counter.N != uint64(i+1) || e.Counter.Epoch != events[0].Counter.Epoch || e.Counter.Epoch == "" {
			t.Errorf("event %d on %s has number %v", i+1, e.Subject, e.Counter)
		}
	}
}

func TestNumbersArriveInOrderOverAServersAndAnAgentsRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, stop := w.run()
	r.Started(eventlog.AgentStart{AgentVersion: "1", Engine: "memory", At: time.Now()})
	r.Info(eventlog.DeviceInfo{DeviceID: device, Labels: map[string]string{"site": "lab"}, UpdatedAt: time.Now()})
	r.State(state("a", 0))
	w.until("the first three", atLeast(3))
	w.server.Stop()
	for i := range 5 {
		r.Journal(eventlog.AgentStepSucceeded, eventlog.Step{Deployment: "a", Step: fmt.Sprint(i), At: time.Now()})
	}
	r.State(state("a", 1))
	r.State(state("b", 0))
	w.server.Start()
	w.until("what happened meanwhile", atLeast(10))
	stop()
	r, _ = w.run()
	r.State(state("a", 2))
	events := w.until("news after a restart", atLeast(11))
	inOrder(t, events)
	var steps []string
	for _, e := range events {
		if e.Type == eventlog.AgentStepSucceeded {
			s, err := eventlog.Payload[eventlog.Step](e)
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, s.Step)
		}
		if e.Type.Family() == eventlog.FamilyAgent && (e.Source != "devices/"+device || e.ID == "") {
			t.Errorf("%s: source %q, id %q", e.Type, e.Source, e.ID)
		}
	}
	if got := strings.Join(steps, ""); got != "01234" {
		t.Errorf("the journal reads %s", got)
	}
}

func TestTheLatestStateWinsAndComesOnceASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := w.run()
	const last = 300
	began := time.Now()
	for i := range last + 1 {
		r.State(state("a", i))
		time.Sleep(5 * time.Millisecond) // the flapping takes a second and a half, on a busy machine more
	}
	events := w.until("the latest", func(es []eventlog.Event) bool {
		return len(es) > 0 && restartsOf(t, es[len(es)-1]) == last
	})
	// Two may come close together where the first was long on its way. Over the
	// whole time there is one a second, and the first.
	if took := time.Since(began); len(events) > 1+int(took/time.Second) || len(events) < 2 {
		t.Errorf("%d states in %v", len(events), took)
	}
	inOrder(t, events)
}

func TestOfflineOnlyTheLatestIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.server.Stop()
	nc, err := nats.Connect(w.server.URL(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	r, err := report.New(report.Options{Device: device, Store: w.store, Bus: bustest.Of(w.t, nc)})
	if err != nil {
		t.Fatal(err)
	}
	go r.Run(t.Context()) //nolint:errcheck // it ends with the test
	for i := range 50 {
		r.State(state("a", i))
	}
	w.server.Start()
	events := w.until("one state", atLeast(1))
	if len(events) != 1 || restartsOf(t, events[0]) != 49 {
		t.Errorf("%d events, the first says %d restarts", len(events), restartsOf(t, events[0]))
	}
	inOrder(t, events)
}

func TestAnUnchangedStateIsReportedOnceAndAgainToANewLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := w.run()
	say := func() {
		r.State(state("a", 0)) // with another time, which is no news
		r.Cleared("gone")
		r.Info(eventlog.DeviceInfo{DeviceID: device, Labels: map[string]string{}, UpdatedAt: time.Now()})
	}
	for range 20 {
		say()
	}
	r.Journal(eventlog.AgentStepFailed, eventlog.Step{Step: "after", At: time.Now()})
	events := w.until("four", atLeast(4)) // states go before the journal
	if len(events) != 4 {
		t.Errorf("%d events", len(events))
	}
	r.Resend()
	say()
	w.until("three again", atLeast(7))
	inOrder(t, w.log())
}

func TestClearedTakesTheKeyOutOnceOverRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, stop := w.run()
	r.State(state("a", 0))
	w.until("the state", atLeast(1))
	r.Cleared("a")
	events := w.until("its removal", atLeast(2))
	if e := events[1]; e.Type != eventlog.StateCleared || len(e.Data) != 0 {
		t.Errorf("%s with %q", e.Type, e.Data)
	}
	// Who ends before the acknowledgement is there says it again, which is no harm.
	w.until("the acknowledgement", func([]eventlog.Event) bool {
		v, err := w.store.Recall("cleared/a")
		return err == nil && v != nil
	})
	stop()
	r, stop = w.run()
	r.Cleared("a")
	r.State(state("b", 0))
	events = w.until("news of another", atLeast(3))
	if events[2].Address.Deployment != "b" {
		t.Errorf("cleared again after a restart: %s %s", events[2].Type, events[2].Subject)
	}
	r.State(state("a", 7)) // it is back
	w.until("it is back", atLeast(4))
	stop()
	r, _ = w.run()
	r.Cleared("a")
	events = w.until("and gone again", atLeast(5))
	if events[4].Type != eventlog.StateCleared {
		t.Errorf("%s", events[4].Type)
	}
	inOrder(t, events)
}

func TestAReportThatTheLogNeverTakesHoldsUpNothing(t *testing.T) {
	t.Parallel()
	huge := state("a", 0)
	huge.Services[0].Name = strings.Repeat("x", logstream.MaxMessageBytes)
	for name, never := range map[string]eventlog.DeploymentState{
		"it is too large":                     huge,
		"there is no subject of its name":     state("", 0),
		"its name has a space in it":          state("a b", 0),
		"its name ends as no subject may end": state("a.", 0),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r, _ := w.run()
			r.State(never)
			r.State(state("b", 0))
			events := w.until("the next", atLeast(1))
			if events[0].Address.Deployment != "b" {
				t.Errorf("%s", events[0].Subject)
			}
		})
	}
}

func TestThePulseBeatsAtOnceAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub, err := w.nc.SubscribeSync(eventlog.PulseSubject(device))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	w.run()
	for i := range 4 {
		m, err := sub.NextMsg(timeout)
		if err != nil {
			t.Fatalf("pulse %d: %v", i, err)
		}
		var h eventlog.Heartbeat
		if err := json.Unmarshal(m.Data, &h); err != nil || h.DeviceID != device || time.Since(h.At) > time.Minute {
			t.Errorf("pulse %d: %s, %v", i, m.Data, err)
		}
	}
}

// noDone is a store on a disk that is full: what was reported can't leave it.
type noDone struct {
	*store.Store
	tries atomic.Int32
}

func (n *noDone) Done(store.Record) error {
	n.tries.Add(1)
	return errors.New("no space left on device")
}

func TestAnEventThatCannotLeaveTheOutboxIsNotSentInARush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	full := &noDone{Store: w.store}
	r, err := report.New(report.Options{Device: device, Store: full, Bus: bustest.Of(t, w.nc)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.Started(eventlog.AgentStart{AgentVersion: "1", Engine: "memory", At: time.Now()})
	w.until("it is sent", atLeast(1))
	time.Sleep(time.Second) // a rush would be in the hundreds
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := full.tries.Load(); n > 20 { // a busy machine's second may be many
		t.Errorf("it was sent %d times in a second", n)
	}
}
