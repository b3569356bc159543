package lag_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/internal/lag"
)

// world is a real log, a reader that is where the test puts it, and this machine's clock, which
// is an hour slow.
type world struct {
	t       *testing.T
	js      jetstream.JetStream
	reading lag.Reading
	reads   bool
	later   time.Duration // so much time has passed
	watch   *lag.Watch
	metrics *prometheus.Registry
}

func newWorld(t *testing.T) *world {
	t.Helper()
	_, js := natstest.Start(t).Connect(t)
	w := &world{t: t, js: js, reads: true, metrics: prometheus.NewRegistry()}
	w.watch = lag.New(lag.Options{
		JS: js, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Now().Add(w.later - time.Hour) },
		Readers: []lag.Reader{{Metric: "fleet_test_lag_seconds", Help: "Test.", Reading: func() (lag.Reading, bool) { return w.reading, w.reads }}},
	})
	w.metrics.MustRegister(w.watch)
	return w
}

// log makes the log, with some events, and gives its id.
func (w *world) log(events int) string {
	w.t.Helper()
	id := natstest.EnsureLog(w.t, w.js, 1).ID
	for range events {
		natstest.ReportState(w.t, w.js, "d0", "web")
	}
	return id
}

func (w *world) look() {
	w.t.Helper()
	if err := w.watch.Look(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// age is what a scrape says, in whole seconds rounded down; -1 where it says nothing.
func (w *world) age() int {
	w.t.Helper()
	all, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	if len(all) == 0 {
		return -1
	}
	return int(all[0].GetMetric()[0].GetGauge().GetValue())
}

// expect allows for the time that the test itself takes on a slow machine.
func (w *world) expect(what string, want int) {
	w.t.Helper()
	if got := w.age(); got < want || want <= 0 && got != want || got > want+60 {
		w.t.Errorf("%s: the lag is %d s, want %d", what, got, want)
	}
}

func TestALagIsTheAgeOfTheOldestEventThatIsNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.expect("nobody looked yet", -1)
	if err := w.watch.Look(t.Context()); err == nil {
		t.Error("a look at a log that is not there succeeds")
	}
	w.expect("there is no log", -1)
	id := w.log(3)

	w.reading = lag.Reading{LogID: id, Sequence: 3}
	w.look()
	w.expect("all is read", 0)
	w.later += 5 * time.Second
	w.expect("all is read and the log is quiet", 0)

	w.reading.Sequence = 1
	w.look()
	w.later += 10 * time.Minute
	w.expect("the reader stands still, and nothing comes", 600)
	w.look()
	w.later += 5 * time.Second
	w.reading.Sequence = 3
	w.expect("the reader came to the end", 0)

	w.reads = false
	w.look()
	w.expect("nobody reads", -1)
}

func TestAReaderOfALogThatWasReplacedIsBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reading = lag.Reading{LogID: w.log(5), Sequence: 5}
	w.look()
	w.expect("all is read", 0)
	if err := w.js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	if err := w.watch.Look(t.Context()); err == nil {
		t.Error("a look at a log that is gone succeeds")
	}
	w.later += time.Minute
	w.expect("the log is gone, and may have grown for all that this replica knows", 60)
	id := w.log(2)
	w.look()
	w.later += time.Minute
	w.expect("the reader reads the log that was", 60)
	w.reading = lag.Reading{LogID: id, Sequence: 2}
	w.look()
	w.expect("the reader reads the new one", 0)
}

func TestALogThatIsBeingRestoredIsNotMeasured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log(1)
	s, err := w.js.Stream(t.Context(), eventlog.LogStream)
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.Metadata["fleet-restoring"] = "archive"
	if _, err := w.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if logstream.RestoringArchive(c) == "" {
		t.Fatal("the test does not know how a log says that it is being restored")
	}
	if err := w.watch.Look(t.Context()); err == nil {
		t.Error("a look at a log that is being restored succeeds")
	}
	w.expect("the log is being restored", -1)
}

// deletable makes a log whose events can be deleted, which those of a log are not, and gives its
// stream.
func (w *world) deletable(events int) jetstream.Stream {
	w.t.Helper()
	c := natstest.EnsureLog(w.t, w.js, 1)
	s, err := w.js.Stream(w.t.Context(), eventlog.LogStream)
	if err != nil {
		w.t.Fatal(err)
	}
	config := s.CachedInfo().Config
	config.DenyDelete = false
	s = natstest.Recreate(w.t, w.js, config)
	w.reading.LogID = c.ID
	for range events {
		natstest.ReportState(w.t, w.js, "d0", "web")
	}
	return s
}

func TestAReaderThatLacksAnEventThatIsGoneIsAsFarBehindAsTheNextOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.deletable(3)
	gone := func(sequence uint64) {
		t.Helper()
		if err := s.DeleteMsg(t.Context(), sequence); err != nil {
			t.Fatal(err)
		}
	}
	gone(2)
	w.reading.Sequence = 1
	w.look()
	w.later += 10 * time.Minute
	w.expect("the next event can be read", 600)
	gone(3)
	w.reading.Sequence = 2
	w.look()
	w.expect("no event is left that can be read", 0)
}

func TestAnEventThatCannotBeReadMakesNoOtherReaderLookBehind(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Config(t, `
		accounts { A { jetstream: enabled, users: [
			{user: all, password: all}
			{user: some, password: some, permissions: {publish: {deny: ["$JS.API.STREAM.MSG.GET.>"]}}}
		] } }`))
	_, all := server.Connect(t, nats.UserInfo("all", "all"))
	id := natstest.EnsureLog(t, all, 1).ID
	natstest.ReportState(t, all, "d0", "web")
	natstest.ReportState(t, all, "d0", "web")
	_, some := server.Connect(t, nats.UserInfo("some", "some"))
	at := func(sequence uint64) func() (lag.Reading, bool) {
		return func() (lag.Reading, bool) { return lag.Reading{LogID: id, Sequence: sequence}, true }
	}
	w := lag.New(lag.Options{
		JS: some, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
		Readers: []lag.Reader{{Metric: "fleet_behind_seconds", Reading: at(1)}, {Metric: "fleet_ahead_seconds", Reading: at(2)}},
	})
	if err := w.Look(t.Context()); err == nil || !strings.Contains(err.Error(), "fleet_behind_seconds") {
		t.Errorf("the look says %v, and nothing of the reader whose event it cannot read", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(w)
	if err := testutil.GatherAndCompare(registry, strings.NewReader("# HELP fleet_ahead_seconds\n# TYPE fleet_ahead_seconds gauge\nfleet_ahead_seconds 0\n")); err != nil {
		t.Error(err)
	}
}
