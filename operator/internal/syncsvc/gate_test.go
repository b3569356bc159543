package syncsvc_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/operator/internal/syncsvc"
	"fleet.nationtech.io/projections/buckets"
)

// restoredLog is what the log says of itself, as a test wants it.
type restoredLog struct {
	mu    sync.Mutex
	info  logstream.Info
	err   error
	asked int
}

func (l *restoredLog) ask(context.Context) (logstream.Info, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return l.info, l.err
}

func (l *restoredLog) set(info logstream.Info, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.info, l.err = info, err
}

// Guarantee: a device is told nothing out of a restored log before the leader has
// held it against the cluster, and this replica has read what came of that.
func TestARestoredLogIsWithheldUntilItIsReconciled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	last := w.append("pi-01", "web", eventlog.DesiredAssigned, `{"type":"PodmanV0"}`)
	if err := buckets.WaitFor(t.Context(), w.js, eventlog.BucketDesired, last); err != nil {
		t.Fatal(err)
	}
	w.fold.set(w.position(last, "web"))
	l := &restoredLog{err: errors.New("no answer")}
	w.serve(syncsvc.DesiredState{JS: w.js}, syncsvc.Options{Log: l.ask})
	answered := func() string {
		t.Helper()
		m := w.ask("pi-01", "nonce-0001")
		return m[len(m)-1].Header.Get("Fleet-Sync-Error")
	}
	becomes := func(want string) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for got := answered(); got != want; got = answered() {
			if time.Now().After(deadline) {
				t.Fatalf("refused with %q, want %q", got, want)
			}
			time.Sleep(10 * time.Millisecond) // poll: it asks at a pace
		}
	}
	becomes(eventlog.SyncNotReady) // nobody knows whether it was restored
	pending := logstream.Restored{Archive: "a", From: "b", Sequence: last}
	l.set(logstream.Info{ID: w.log.ID, Restored: pending}, nil)
	becomes(eventlog.SyncRestored)
	l.set(logstream.Info{ID: "another"}, nil)
	becomes(eventlog.SyncRestored)
	done := pending
	done.Reconciled = last + 1
	l.set(logstream.Info{ID: w.log.ID, Restored: done}, nil)
	becomes(eventlog.SyncNotReady) // this fold has not passed it
	w.fold.set(state.Position{LogID: w.log.ID, Sequence: last + 1, LastDesired: last, Names: []string{"web"}})
	becomes("")
	before := l.asked
	for range 20 {
		becomes("")
	}
	if l.asked != before {
		t.Errorf("the log was asked %d times more, though it is reconciled for ever", l.asked-before)
	}
}
