package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/agent/store"
)

func value(deployment string, sequence uint64) store.Desired {
	return store.Desired{Deployment: deployment, Sequence: sequence, Value: fmt.Appendf(nil, "v%d", sequence)}
}

func gone(deployment string, sequence uint64) store.Desired {
	return store.Desired{Deployment: deployment, Sequence: sequence, Withdrawn: true}
}

func at(log string, sequence uint64) store.Position {
	return store.Position{LogID: log, Sequence: sequence}
}

// TestKnowledge tells each story as moves on a memory of web@50 and old@40 of
// log A, which the device knows up to 60.
func TestKnowledge(t *testing.T) {
	t.Parallel()
	const staleGrace = time.Minute
	start := time.Unix(1000, 0)
	tests := map[string]struct {
		moves      func(k *desiredSet) update // the last one's outcome
		want       []store.Desired            // all that is known then
		position   store.Position
		changes    []store.Desired // of the last move
		again      bool
		logChanged bool
		askOnce    bool // once more: what was held back was dropped
	}{
		"an answer wins over memory": {
			moves: func(k *desiredSet) update {
				return k.answer(answer{at("A", 80), []store.Desired{value("web", 70)}}, start)
			},
			want:     []store.Desired{value("old", 40), value("web", 70)},
			changes:  []store.Desired{value("web", 70)},
			position: at("A", 80),
		},
		"an answer that says what is known changes nothing but the position": {
			moves: func(k *desiredSet) update {
				return k.answer(answer{at("A", 80), []store.Desired{value("web", 50), value("old", 40)}}, start)
			},
			want:     []store.Desired{value("old", 40), value("web", 50)},
			position: at("A", 80),
		},
		"absence takes nothing off": {
			moves:    func(k *desiredSet) update { return k.answer(answer{at("A", 80), nil}, start) },
			want:     []store.Desired{value("old", 40), value("web", 50)},
			position: at("A", 80),
		},
		"a delete marker does": {
			moves: func(k *desiredSet) update {
				return k.answer(answer{at("A", 80), []store.Desired{gone("web", 75)}}, start)
			},
			want:     []store.Desired{value("old", 40), gone("web", 75)},
			changes:  []store.Desired{gone("web", 75)},
			position: at("A", 80),
		},
		"a live value before the answer waits for it": {
			moves:    func(k *desiredSet) update { return k.live(value("web", 70)) },
			want:     []store.Desired{value("old", 40), value("web", 50)},
			position: at("A", 60),
		},
		"then the later of both holds, whichever came first": {
			moves: func(k *desiredSet) update {
				k.live(value("web", 71))
				k.live(gone("old", 65))
				k.live(value("web", 70))
				return k.answer(answer{at("A", 68), []store.Desired{value("web", 50), value("old", 67)}}, start)
			},
			want:     []store.Desired{value("old", 67), value("web", 71)},
			changes:  []store.Desired{value("old", 67), value("web", 71)},
			position: at("A", 71),
		},
		"an older live value after the answer is late, not news": {
			moves: func(k *desiredSet) update {
				k.answer(answer{at("A", 80), []store.Desired{value("web", 70)}}, start)
				return k.live(value("web", 69))
			},
			want:     []store.Desired{value("old", 40), value("web", 70)},
			position: at("A", 80),
		},
		"an answer read before a live value does not take it back": {
			moves: func(k *desiredSet) update {
				k.answer(answer{at("A", 80), []store.Desired{value("web", 70)}}, start)
				k.live(gone("web", 82))
				return k.answer(answer{at("A", 82), []store.Desired{value("web", 70)}}, start)
			},
			want:     []store.Desired{value("old", 40), gone("web", 82)},
			position: at("A", 82),
		},
		"an answer behind memory of the same log is not believed at once": {
			moves: func(k *desiredSet) update {
				return k.answer(answer{at("A", 30), []store.Desired{value("web", 20)}}, start)
			},
			want:     []store.Desired{value("old", 40), value("web", 50)},
			position: at("A", 60), again: true,
		},
		"nor for as long as a replica may lag": {
			moves: func(k *desiredSet) update {
				k.answer(answer{at("A", 30), []store.Desired{value("web", 20)}}, start)
				return k.answer(answer{at("A", 30), []store.Desired{value("web", 20)}}, start.Add(staleGrace-1))
			},
			want:     []store.Desired{value("old", 40), value("web", 50)},
			position: at("A", 60), again: true,
		},
		"but then: the log lost its tail": {
			moves: func(k *desiredSet) update {
				k.answer(answer{at("A", 30), []store.Desired{value("web", 20)}}, start)
				return k.answer(answer{at("A", 31), []store.Desired{value("web", 31)}}, start.Add(staleGrace))
			},
			want:     []store.Desired{value("old", 40), value("web", 31)},
			changes:  []store.Desired{value("web", 31)},
			position: at("A", 31), logChanged: true,
		},
		"the grace begins again after an answer that is not behind": {
			moves: func(k *desiredSet) update {
				k.answer(answer{at("A", 30), nil}, start)
				k.answer(answer{at("A", 60), nil}, start.Add(30*time.Second))
				return k.answer(answer{at("A", 30), nil}, start.Add(2*staleGrace))
			},
			want:     []store.Desired{value("old", 40), value("web", 50)},
			position: at("A", 60), again: true,
		},
		"another log is believed at once, however short it is": {
			moves: func(k *desiredSet) update {
				return k.answer(answer{at("B", 5), []store.Desired{value("web", 3)}}, start)
			},
			want:     []store.Desired{value("old", 40), value("web", 3)},
			changes:  []store.Desired{value("web", 3)},
			position: at("B", 5), logChanged: true,
		},
		"another log that knows nothing takes nothing": {
			moves:    func(k *desiredSet) update { return k.answer(answer{at("B", 1), nil}, start) },
			want:     []store.Desired{value("old", 40), value("web", 50)},
			position: at("B", 1), logChanged: true,
		},
		"another log in the middle of a session counts from its own start": {
			moves: func(k *desiredSet) update {
				k.answer(answer{at("A", 80), []store.Desired{value("web", 70)}}, start)
				k.answer(answer{at("B", 5), []store.Desired{value("web", 3)}}, start)
				return k.live(value("web", 6))
			},
			want:     []store.Desired{value("old", 40), value("web", 6)},
			changes:  []store.Desired{value("web", 6)},
			position: at("B", 6),
		},
		"a live value that was held back does not outlive a change of log": {
			moves: func(k *desiredSet) update {
				k.live(value("web", 70)) // of log A: log B has fewer events for a long time
				return k.answer(answer{at("B", 5), []store.Desired{value("web", 3)}}, start)
			},
			want:     []store.Desired{value("old", 40), value("web", 3)},
			changes:  []store.Desired{value("web", 3)},
			position: at("B", 5), logChanged: true, askOnce: true,
		},
		"so live values of the new log count at once": {
			moves: func(k *desiredSet) update {
				k.live(value("web", 70))
				k.answer(answer{at("B", 5), []store.Desired{value("web", 3)}}, start)
				return k.live(value("web", 6))
			},
			want:     []store.Desired{value("old", 40), value("web", 6)},
			changes:  []store.Desired{value("web", 6)},
			position: at("B", 6),
		},
		"nor does it outlive a lost tail": {
			moves: func(k *desiredSet) update {
				k.live(value("web", 70))
				k.answer(answer{at("A", 30), []store.Desired{value("web", 20)}}, start)
				k.answer(answer{at("A", 30), []store.Desired{value("web", 20)}}, start.Add(staleGrace))
				return k.live(value("web", 31))
			},
			want:     []store.Desired{value("old", 40), value("web", 31)},
			changes:  []store.Desired{value("web", 31)},
			position: at("A", 31),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newDesiredSet([]store.Desired{value("web", 50), value("old", 40)}, at("A", 60), staleGrace)
			got := tc.moves(k)
			if got.believed == tc.again || got.logChanged != tc.logChanged || got.again != tc.askOnce {
				t.Errorf("believed %v, logChanged %v, asks once more %v", got.believed, got.logChanged, got.again)
			}
			if diff := cmp.Diff(tc.changes, got.changes); diff != "" {
				t.Error("changes (-want +got)\n" + diff)
			}
			if diff := cmp.Diff(tc.want, sorted(k.desired)); diff != "" {
				t.Error("known (-want +got)\n" + diff)
			}
			if k.position != tc.position {
				t.Errorf("position %v, want %v", k.position, tc.position)
			}
		})
	}
}

// Whatever the order in which live values and answers of one log arrive, lost
// and repeated ones too, a whole answer at the end leaves exactly the log's own
// last word of each Deployment.
func TestEveryInterleavingConvergesToTheLog(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c"}
		var log []store.Desired // log[i] has sequence i+1
		last := func(n int) []store.Desired {
			m := map[string]store.Desired{}
			for _, d := range log[:n] {
				m[d.Deployment] = d
			}
			return sorted(m)
		}
		k := newDesiredSet(nil, store.Position{}, time.Minute)
		now := time.Unix(1000, 0)
		for range rapid.IntRange(0, 60).Draw(t, "moves") {
			switch rapid.IntRange(0, 4).Draw(t, "move") {
			case 0, 1:
				n := uint64(len(log) + 1)
				d := value(rapid.SampledFrom(names).Draw(t, "name"), n)
				if rapid.Bool().Draw(t, "gone") {
					d = gone(d.Deployment, n)
				}
				log = append(log, d)
			case 2:
				if len(log) > 0 {
					k.live(rapid.SampledFrom(log).Draw(t, "live"))
				}
			case 3:
				n := rapid.IntRange(0, len(log)).Draw(t, "read")
				k.answer(answer{at("A", uint64(n)), last(n)}, now)
			case 4:
				k.begin()
			}
		}
		if got := k.answer(answer{at("A", uint64(len(log))), last(len(log))}, now); !got.believed {
			t.Fatal("the log as it is was not believed")
		}
		if diff := cmp.Diff(last(len(log)), sorted(k.desired)); diff != "" {
			t.Fatal("(-want +got)\n" + diff)
		}
	})
}
