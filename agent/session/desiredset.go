package session

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/agent/store"
)

// desiredSet is what the device knows of its desired set, and how surely. It is
// pure: messages and moments in, changes out.
//
// Guarantees:
//   - Within a session the log's sequence orders what live and sync say.
//   - Across sessions the answer to a sync wins over memory.
//   - An answer that is behind what is remembered of the same log is believed
//     only once the log insisted on it for as long as staleGrace.
//   - Only an explicit delete marker takes a Deployment off; absence never does.
type desiredSet struct {
	staleGrace time.Duration

	desired  map[string]store.Desired
	position store.Position

	// said has the sequence at which this session learned of a Deployment.
	said     map[string]uint64
	answered bool                     // by a first answer of this session that was believed
	held     map[string]store.Desired // live values that came before it
	behind   time.Time                // since when answers have been behind; zero: they are not
}

// answer is a whole answer to a sync.
type answer struct {
	position store.Position
	values   []store.Desired
}

// update is what came of a message.
type update struct {
	believed   bool // false: ask again
	changes    []store.Desired
	logChanged bool // another log, or this one lost its tail
	again      bool // believed, and to be asked for once more: live values were dropped
}

func newDesiredSet(desired []store.Desired, p store.Position, staleGrace time.Duration) *desiredSet {
	k := &desiredSet{staleGrace: staleGrace, position: p, desired: map[string]store.Desired{}}
	for _, d := range desired {
		k.desired[d.Deployment] = d
	}
	k.begin()
	return k
}

// begin starts a session: all that is known is memory from here on.
func (k *desiredSet) begin() {
	k.said, k.held, k.answered, k.behind = map[string]uint64{}, map[string]store.Desired{}, false, time.Time{}
}

// live takes a value as it happens. Until the session's first answer it is held
// back, since only the answer tells which log the sequences are of.
func (k *desiredSet) live(d store.Desired) update {
	if !k.answered {
		if h, ok := k.held[d.Deployment]; !ok || h.Sequence < d.Sequence {
			k.held[d.Deployment] = d
		}
		return update{believed: true}
	}
	return update{believed: true, changes: k.take([]store.Desired{d})}
}

// answer takes an answer that is whole.
func (k *desiredSet) answer(a answer, now time.Time) update {
	same := a.position.LogID == k.position.LogID
	back := same && a.position.Sequence < k.position.Sequence
	if back {
		if k.behind.IsZero() || now.Before(k.behind) {
			k.behind = now
		}
		if now.Sub(k.behind) < k.staleGrace {
			return update{}
		}
	}
	l := update{believed: true, logChanged: back || !same && k.position.LogID != ""}
	if back || !same {
		// Sequences of what is no more say nothing. A live value that was held back does
		// not tell which of the two logs it is of: the next answer has what counts.
		l.again = len(k.held) > 0
		k.said, k.held = map[string]uint64{}, map[string]store.Desired{}
	}
	k.behind, k.answered, k.position = time.Time{}, true, a.position
	l.changes = k.take(append(slices.Clone(a.values), sorted(k.held)...))
	k.held = map[string]store.Desired{}
	return l
}

// take applies values in the log's order and gives what they changed.
func (k *desiredSet) take(values []store.Desired) []store.Desired {
	changed := map[string]store.Desired{}
	for _, d := range values {
		if d.Sequence <= k.said[d.Deployment] {
			continue
		}
		k.said[d.Deployment] = d.Sequence
		k.position.Sequence = max(k.position.Sequence, d.Sequence)
		if same(k.desired[d.Deployment], d) {
			continue
		}
		k.desired[d.Deployment] = d
		changed[d.Deployment] = d
	}
	return sorted(changed)
}

func same(a, b store.Desired) bool {
	return a.Deployment == b.Deployment && a.Namespace == b.Namespace && a.Revision == b.Revision &&
		a.Sequence == b.Sequence && a.Withdrawn == b.Withdrawn && bytes.Equal(a.Value, b.Value)
}

func sorted(m map[string]store.Desired) []store.Desired {
	return slices.SortedFunc(maps.Values(m), func(a, b store.Desired) int { return strings.Compare(a.Deployment, b.Deployment) })
}
