package syncsvc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/operator/internal/syncsvc"
)

// positions is a fold that gives these, one a question; the last for ever.
type positions struct {
	at    []state.Position
	asked int
}

func (p *positions) Position(string) (state.Position, bool) {
	at := p.at[min(p.asked, len(p.at)-1)]
	p.asked++
	return at, true
}

// bucketOf holds, by name, the log's sequence of its value.
type bucketOf map[string]uint64

func (b bucketOf) Read(context.Context, string, []string) ([]*nats.Msg, error) {
	var msgs []*nats.Msg
	for name, seq := range b {
		msgs = append(msgs, &nats.Msg{
			Subject: eventlog.KVSubject(eventlog.BucketDesired, eventlog.DesiredKey("pi-01", name)),
			Header:  nats.Header{eventlog.HeaderStreamSource: {fmt.Sprintf("FLEET %d", seq)}}, Data: []byte("{}"),
		})
	}
	return msgs, nil
}

// An answer is given only where it holds all that its end marker promises.
func TestAnAnswerHoldsWhatItsEndMarkerPromises(t *testing.T) {
	t.Parallel()
	at := func(log string, sequence, last uint64, desired map[string]uint64) state.Position {
		return state.Position{LogID: log, Sequence: sequence, LastDesired: last, Desired: desired}
	}
	for name, tt := range map[string]struct {
		fold   []state.Position // before and after the bucket is read, again and again
		bucket bucketOf
		want   string
	}{
		"the bucket has all": {
			fold:   []state.Position{at("A", 10, 8, map[string]uint64{"web": 8})},
			bucket: bucketOf{"web": 8},
		},
		"the bucket has more than the fold knew before it was read": {
			fold:   []state.Position{at("A", 7, 5, map[string]uint64{"web": 5}), at("A", 10, 8, map[string]uint64{"web": 8})},
			bucket: bucketOf{"web": 8},
		},
		"the fold went on while the bucket was read, and the bucket did not": {
			fold:   []state.Position{at("A", 7, 5, map[string]uint64{"web": 5}), at("A", 10, 8, map[string]uint64{"web": 8})},
			bucket: bucketOf{"web": 5},
			want:   eventlog.SyncRebuilding,
		},
		"one name was read before the bucket had it, another after": {
			fold:   []state.Position{at("A", 12, 11, map[string]uint64{"web": 10, "db": 11})},
			bucket: bucketOf{"web": 5, "db": 11},
			want:   eventlog.SyncRebuilding,
		},
		"a name is not there at all": {
			fold:   []state.Position{at("A", 12, 11, map[string]uint64{"web": 10, "db": 11})},
			bucket: bucketOf{"db": 11},
			want:   eventlog.SyncRebuilding,
		},
		"the log changed while the bucket was read": {
			fold: []state.Position{
				at("A", 10, 8, map[string]uint64{"web": 8}), at("B", 10, 8, map[string]uint64{"web": 8}),
				at("A", 10, 8, map[string]uint64{"web": 8}), at("B", 10, 8, map[string]uint64{"web": 8}),
				at("", 0, 0, nil), at("B", 10, 8, map[string]uint64{"web": 8}), at("A", 10, 8, map[string]uint64{"web": 8}), at("C", 0, 0, nil),
			},
			bucket: bucketOf{"web": 8},
			want:   eventlog.SyncRebuilding,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serveWith(&positions{at: tt.fold}, tt.bucket, syncsvc.Options{Timeout: time.Millisecond})
			got := w.ask("pi-01", "nonce-0001")
			if refused := got[len(got)-1].Header.Get(eventlog.HeaderSyncError); refused != tt.want {
				t.Errorf("refused with %q, want %q", refused, tt.want)
			}
		})
	}
}

// A replica that ends answers whom it took the question of, and takes no more.
func TestAReplicaThatEndsAnswersWhatItHasTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fold.set(w.position(0))
	b := &slow{entered: make(chan string, 16), release: make(chan struct{})}
	stop := w.serveWith(w.fold, b, syncsvc.Options{Workers: 1, Drain: time.Minute})
	sub, err := w.nc.SubscribeSync(w.nc.NewRespInbox())
	if err != nil {
		t.Fatal(err)
	}
	send := func(device string) {
		t.Helper()
		if err := w.nc.PublishMsg(&nats.Msg{Subject: "fleet.sync." + device, Reply: sub.Subject, Header: nats.Header{"Fleet-Sync": {"question-" + device}}}); err != nil {
			t.Fatal(err)
		}
	}
	send("a")
	<-b.entered
	send("b") // waits behind a
	if err := w.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	deadline := time.Now().Add(time.Minute)
	for { // poll: until nobody takes questions
		_, err := w.nc.RequestMsg(&nats.Msg{Subject: "fleet.sync.c", Header: nats.Header{"Fleet-Sync": {"question-c"}}}, 50*time.Millisecond)
		if errors.Is(err, nats.ErrNoResponders) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("questions are still taken: %v", err)
		}
	}
	close(b.release)
	got := map[string]bool{}
	for range 2 {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatalf("answered: %v; then: %v", got, err)
		}
		got[m.Header.Get(eventlog.HeaderSync)] = m.Header.Get(eventlog.HeaderSyncEnd) != ""
	}
	if !got["question-a"] || !got["question-b"] {
		t.Errorf("answered: %v", got)
	}
	<-ended
}

// A log that does not answer holds one worker up, not all of them.
func TestALogThatDoesNotAnswerHoldsUpOneWorkerAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fold.set(w.position(0))
	asked, silent := make(chan struct{}, 16), make(chan struct{})
	w.serveWith(w.fold, bucketOf{}, syncsvc.Options{Workers: 2, Log: func(context.Context) (logstream.Info, error) {
		asked <- struct{}{}
		<-silent // however long
		return logstream.Info{}, errors.New("no answer")
	}})
	answers := sync.OnceFunc(func() { close(silent) })
	t.Cleanup(answers)
	first := make(chan []*nats.Msg, 1)
	go func() { first <- w.ask("a", "question-a") }()
	<-asked
	got := w.ask("b", "question-b") // is answered while a waits
	answers()
	if got[0].Header.Get(eventlog.HeaderSyncError) != eventlog.SyncNotReady {
		t.Errorf("%v", got[0].Header)
	}
	<-first
}
