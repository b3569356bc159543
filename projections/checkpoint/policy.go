package checkpoint

import (
	"slices"

	"fleet.nationtech.io/eventlog/logstream"
)

const (
	// DefaultEvents is how many events come between two checkpoints, at least. To any moment
	// in between, half as many are folded on average.
	DefaultEvents = 25_000
	// Most is how many checkpoints are kept.
	Most = 128
	// growth is how many times its own size the log must grow between two
	// checkpoints: all that are kept then weigh less than a quarter of the log,
	// however large the fleet and however little happens in it.
	growth = 4
)

// Entry is the newest checkpoint, as far as it matters for the next one. The zero
// Kept is none at all.
type Entry struct {
	Sequence uint64
	Bytes    uint64
}

// Due says whether a checkpoint should be saved: at least so many events after
// the newest, and only when the log has grown by several times its size. Zero
// events: never.
func Due(log logstream.Info, newest Entry, events uint64) bool {
	n, bytes := since(log, newest)
	return events > 0 && n >= events && bytes >= growth*newest.Bytes
}

// DueAtEnd says whether a checkpoint should be saved by a leader that ends: as
// soon as what happened since the newest weighs more than the checkpoint does,
// so that anyone who starts next reads less.
func DueAtEnd(log logstream.Info, newest Entry) bool {
	n, bytes := since(log, newest)
	return n > 0 && bytes >= newest.Bytes
}

// since is what the log has after a checkpoint. The bytes are as many as events
// of the log's average size have.
func since(log logstream.Info, newest Entry) (events, bytes uint64) {
	if log.Last <= newest.Sequence {
		return 0, 0
	}
	events = log.Last - newest.Sequence
	all := log.Last + 1 - max(1, log.First)
	return events, uint64(float64(log.Bytes) / float64(all) * float64(events))
}

// Thin says which checkpoints to drop, of those at the given sequences, so that
// at most so many are kept. The newest is always kept, and the spacing grows
// with the age: one after the other goes the one whose absence leaves the
// smallest gap for its age, a gap that begins at the log's beginning included.
// So the cost of any moment stays a small share of the fold from there to now.
func Thin(sequences []uint64, most int) (drop []uint64) {
	kept := slices.Clone(sequences)
	slices.Sort(kept)
	kept = slices.Compact(kept)
	for len(kept) > max(1, most) {
		newest := kept[len(kept)-1]
		least, at := 2.0, 0
		before := uint64(0)
		for i, seq := range kept[:len(kept)-1] {
			if share := float64(kept[i+1]-before) / float64(newest-before); share < least {
				least, at = share, i
			}
			before = seq
		}
		drop = append(drop, kept[at])
		kept = slices.Delete(kept, at, at+1)
	}
	slices.Sort(drop)
	return drop
}
