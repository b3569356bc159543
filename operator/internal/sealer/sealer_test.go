package sealer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/seal"
)

// world is a log, and a leader that appends what its sealer proposes.
type world struct {
	*testing.T
	nc       *nats.Conn
	js       jetstream.JetStream
	key      nkeys.KeyPair
	appender *appender.Appender

	*Sealer
	metrics *Metrics
	broken  chan error
	end     func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t}
	w.nc, w.js = natstest.Start(t).Connect(t)
	if _, err := logstream.Ensure(t.Context(), w.js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.key, err = nkeys.CreateUser(); err != nil {
		t.Fatal(err)
	}
	if w.appender, err = appender.New(w.nc, appender.Options{Source: "operator"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// process starts a replica: a sealer that knows nothing.
func (w *world) process(events int, interval time.Duration) {
	w.broken, w.metrics = make(chan error, 1), NewMetrics(prometheus.NewRegistry())
	w.Sealer = New(Options{
		JS: w.js, Key: func(context.Context) (nkeys.KeyPair, error) { return w.key, nil },
		Events: events, Interval: interval, Metrics: w.metrics, Now: time.Now, Logger: slog.New(slog.NewTextHandler(w.Output(), nil)),
		Broken: func(err error) { w.broken <- err },
	})
}

// lead begins a term: what is proposed is appended.
func (w *world) lead() {
	w.Helper()
	token, err := w.appender.Elect(w.Context(), eventlog.Leader{Identity: "op"}, time.Now())
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	proposed, done := make(chan struct{}, 1), make(chan struct{}, 2)
	w.options.Propose = func() {
		select {
		case proposed <- struct{}{}:
		default:
		}
	}
	go func() { defer func() { done <- struct{}{} }(); w.Lead(ctx, token) }()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			select {
			case <-ctx.Done():
				return
			case <-proposed:
			}
			drafts, err := w.Due(time.Now())
			if err != nil {
				w.Error(err)
			}
			if _, err := w.appender.Append(ctx, drafts); err != nil && ctx.Err() == nil {
				w.Error(err)
			}
		}
	}()
	w.end = func() { cancel(); <-done; <-done }
	w.Cleanup(cancel)
}

func (w *world) say(n int) {
	w.Helper()
	for range n {
		if _, err := w.js.Publish(w.Context(), eventlog.StateSubject("pi-01", "web"), []byte("{}")); err != nil {
			w.Fatal(err)
		}
	}
}

// seals gives the seals of the log, each checked against it.
func (w *world) seals() (all []eventlog.Seal) {
	w.Helper()
	t, at := seal.NewTree(), map[uint64]*seal.Tree{}
	for e, err := range reader.Read(w.Context(), w.js, reader.Options{}) {
		if err != nil {
			w.Fatal(err)
		}
		if err := t.Add(e); err != nil {
			w.Fatal(err)
		}
		at[e.Sequence] = t.Clone()
		if e.Type != eventlog.SealCreated {
			continue
		}
		s, err := eventlog.Payload[eventlog.Seal](e)
		if err != nil {
			w.Fatal(err)
		}
		if err := seal.Check(s, nil); err != nil || string(at[s.TreeSize].Root()) != string(s.RootHash) {
			w.Errorf("the seal %d, over %d: %v, or another root", e.Sequence, s.TreeSize, err)
		}
		all = append(all, s)
	}
	return all
}

// await polls until so many seals are there, and gives the last.
func (w *world) await(n int) eventlog.Seal {
	w.Helper()
	var all []eventlog.Seal
	w.eventually(fmt.Sprintf("%d seals", n), func() bool {
		all = w.seals()
		return len(all) >= n
	})
	return all[len(all)-1]
}

// eventually polls until something holds.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestTheLogIsSealedByCountAndByTimeAndNotForSealsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.process(10, time.Hour)
	w.lead() // 1
	w.say(8)
	if n := len(w.seals()); n != 0 {
		t.Fatalf("%d seals over too few events", n)
	}
	w.say(1)
	if s := w.await(1); s.TreeSize < 10 {
		t.Errorf("the seal covers %d, want 10", s.TreeSize)
	}
	w.end()

	w.process(1000, 300*time.Millisecond) // another process
	w.lead()                              // 12
	w.say(3)
	var s eventlog.Seal
	w.eventually("a seal over all", func() bool { // the election may have been sealed alone
		s = w.await(2)
		return s.TreeSize >= 15
	})
	n := len(w.seals())
	quiet := time.NewTimer(time.Second)
	<-quiet.C // several intervals in which nothing but the seal came
	if got := len(w.seals()); got != n {
		t.Errorf("%d seals over nothing but seals", got-n)
	}
	w.eventually(fmt.Sprintf("sealed_sequence is %d, and the lag the seal itself", s.TreeSize), func() bool {
		return testutil.ToFloat64(w.metrics.sealed) == float64(s.TreeSize) && testutil.ToFloat64(w.metrics.lag) == 1
	})
	w.end()
}

// A term that follows in the same process, and a process that follows, go on from
// what was sealed, and read nothing before it.
func TestSealingGoesOnOverTermsAndProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.process(5, time.Hour)
	w.lead()
	w.say(5)
	w.await(1)
	w.end()
	size := w.ledger.size()
	w.lead() // the same process
	w.say(5)
	w.await(2)
	w.end()
	if w.ledger.size() < size {
		t.Errorf("the ledger has %d messages, had %d", w.ledger.size(), size)
	}
	w.process(5, time.Hour) // the next
	w.public, _ = w.key.PublicKey()
	after, err := w.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := w.seals()[1].TreeSize; after.Sequence != want {
		t.Errorf("it reads after %d, want %d", after.Sequence, want)
	}
	w.lead()
	w.say(5)
	w.await(3)
	w.end()
}

// A seal that was signed, by whomever, and is not of this log, is not sealed over.
// One that was not signed stops nothing.
func TestNothingIsSealedOverASealThatContradictsTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.process(5, time.Hour)
	w.lead()
	w.say(5)
	w.await(1)
	s := w.seals()[0]
	append1 := func(s eventlog.Seal) {
		d, err := eventlog.NewDraft(eventlog.SealSubject, eventlog.SealCreated, time.Now(), s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := appender.Unfenced(t.Context(), w.js, "somebody", d); err != nil {
			t.Fatal(err)
		}
	}
	forged := s
	forged.Signature = make([]byte, 64)
	append1(forged)
	w.say(5)
	w.eventually("a forged seal stops no sealing", func() bool { return testutil.ToFloat64(w.metrics.sealed) >= 12 })

	other := seal.NewTree()
	for n := range uint64(15) {
		if err := other.Add(eventlog.Event{Sequence: n + 1}); err != nil {
			t.Fatal(err)
		}
	}
	otherKey, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	w.say(3)
	lie, err := seal.Sign(otherKey, other, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	append1(lie)
	select {
	case err := <-w.broken:
		if !errors.Is(err, errBroken) {
			t.Errorf("told of %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("nobody was told")
	}
	if testutil.ToFloat64(w.metrics.broken) != 1 {
		t.Error("fleet_operator_seal_broken is not 1")
	}
	w.say(10)
	w.end()
	w.lead() // nor in the next term
	w.say(10)
	w.end()
	last, err := reader.LastMessage(t.Context(), w.js, eventlog.LogStream, eventlog.SealSubject)
	if err != nil {
		t.Fatal(err)
	}
	if got := last.Header.Get(eventlog.HeaderSource); got != "somebody" {
		t.Errorf("the last seal is of %q: it was sealed over the lie", got)
	}
}

// A log that was made again is sealed from its own beginning.
func TestALogThatWentBackIsSealedFromItsBeginning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.process(5, time.Hour)
	w.lead()
	w.say(6)
	w.await(1)
	w.end()
	if err := w.js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	natstest.EnsureLog(t, w.js, 1)
	w.lead()
	w.say(6)
	w.await(1)
	w.end()
	select {
	case err := <-w.broken:
		t.Errorf("it is said to be broken: %v", err)
	default:
	}
}
