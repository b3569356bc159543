package health

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/projections/buckets"
)

// A bucket that moves does not stall, nor does an idle one whose source has nothing new.
func TestABucketThatMovesDoesNotStall(t *testing.T) {
	t.Parallel()
	end := func(n uint64) func() (uint64, error) { return func() (uint64, error) { return n, nil } }
	var moving, idle progress
	asked := 0
	for n := range uint64(5000) {
		if ask, _ := moving.look(buckets.Service{Last: n + 1}, end(2*n)); ask {
			t.Fatalf("look %d at a bucket that moves: it is asked", n)
		}
		if ask, _ := idle.look(buckets.Service{Last: 7}, end(9+n/1000)); ask {
			asked++
			idle.lacks(nil, 9+n/1000, time.Time{})
		}
	}
	if asked != 5 {
		t.Errorf("an idle bucket was asked %d times while its source had 5 news", asked)
	}
}

func TestABucketLacksSomethingSinceItWasSeenFirstAndUntilItMoves(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_800_000_000, 0)
	end := func() (uint64, error) { return 9, nil }
	var l progress
	for n := range 3 {
		if ask, _ := l.look(buckets.Service{Last: 7}, end); ask != (n > 0) {
			t.Errorf("look %d: ask %v", n, ask)
		} else if ask {
			l.lacks(&jetstream.RawStreamMsg{Sequence: uint64(9 + n)}, 9, start.Add(time.Duration(n)*time.Second))
		}
	}
	if l.suspect == nil || l.suspect.Sequence != 11 || !l.since.Equal(start.Add(time.Second)) {
		t.Errorf("it lacks %+v since %v", l.suspect, l.since)
	}
	if ask, _ := l.look(buckets.Service{Last: 8}, end); ask || l.suspect != nil {
		t.Errorf("it moved, and lacks %+v", l.suspect)
	}
	l.whole = 9
	if _, _ = l.look(buckets.Service{Last: 8, Created: start}, end); l.whole != 0 {
		t.Error("it was made again, and is taken to have what the old one had")
	}
}
