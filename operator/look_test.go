package operator

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// Asking what a bucket lacks costs work for each key, so what is idle is asked
// ever less, and what moves never.
func TestABucketThatMovesIsNotAskedAndAnIdleOneEverLess(t *testing.T) {
	t.Parallel()
	var moving, idle bucketLook
	asked := 0
	for n := range uint64(5000) {
		if ask, news := moving.look(n / 3); ask || news {
			t.Fatalf("look %d at a bucket that moves: ask %v, news %v", n, ask, news)
		}
		ask, news := idle.look(7)
		if news {
			t.Fatalf("look %d at a bucket that lacks nothing: it is said to stand still", n)
		}
		if ask {
			asked++
		}
	}
	if asked < 20 || asked > 30 { // at 4, 8, … 256, and each 256 after that
		t.Errorf("an idle bucket was asked %d times in 5000 looks", asked)
	}
}

func TestABucketStandsStillWhereItLacksTheSameAtTheNextLook(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		then uint64 // where it is at the looks after it lacked something
		want bool
	}{
		"it had not arrived yet": {8, false},
		"it does not arrive":     {7, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l bucketLook
			for ask := false; !ask; {
				ask, _ = l.look(7)
			}
			l.suspect = &jetstream.RawStreamMsg{Sequence: 9}
			if _, news := l.look(test.then); news != test.want || l.stalled != test.want {
				t.Errorf("news %v, stalled %v, want %v", news, l.stalled, test.want)
			}
			if _, news := l.look(test.then); news {
				t.Error("the same is said again")
			}
			if _, _ = l.look(20); l.stalled {
				t.Error("it went on, and is still said to stand still")
			}
		})
	}
}
