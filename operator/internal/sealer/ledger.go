package sealer

import (
	"bytes"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/seal"
)

// ledger is what a sealer knows of the log: the tree up to the last seal, and the
// leaves after it, which a seal that is on its way may cover in part. It is pure.
type ledger struct {
	tree    *seal.Tree
	pending []leaf
	hash    seal.Leaves

	sealed   uint64    // messages that the last seal covers
	recorded time.Time // when the log recorded the last message

	unsealed int       // messages after those that are no seals
	oldest   time.Time // when the log recorded the first of them
}

// leaf is a message that the tree has not taken yet.
type leaf struct {
	seal.Leaf
	recorded int64 // nanoseconds
	seal     bool  // it is a seal itself: it calls for no other
}

// maxPending bounds the leaves that are kept beside the tree. A seal is some
// messages behind what it covers, no more than are in flight.
const maxPending = 1 << 17

// newLedger begins with what a seal covers, or with an empty log.
func newLedger(last eventlog.Seal) (*ledger, error) {
	if last.TreeSize == 0 {
		return &ledger{tree: seal.NewTree()}, nil
	}
	t, err := seal.Grown(last)
	if err != nil {
		return nil, err
	}
	return &ledger{tree: t, sealed: last.TreeSize}, nil
}

// size is the sequence of the last message that was taken.
func (l *ledger) size() uint64 { return l.tree.Size() + uint64(len(l.pending)) }

// add takes the log's next message. It fails with seal.ErrGap where it is not
// that.
func (l *ledger) add(e eventlog.Event) error {
	if want := l.size() + 1; e.Sequence != want {
		return fmt.Errorf("%w: message %d comes where %d is due", seal.ErrGap, e.Sequence, want)
	}
	if len(l.pending) == maxPending {
		if err := l.grow(l.tree.Size() + maxPending/2); err != nil {
			return err
		}
	}
	p := leaf{Leaf: l.hash.Of(&e), recorded: e.Recorded.UnixNano(), seal: e.Address.Family == eventlog.FamilySeal}
	l.pending = append(l.pending, p)
	l.recorded = e.Recorded
	l.count(p)
	return nil
}

func (l *ledger) count(p leaf) {
	if p.seal {
		return
	}
	if l.unsealed == 0 {
		l.oldest = time.Unix(0, p.recorded)
	}
	l.unsealed++
}

// grow lets the tree take pending leaves, up to a size.
func (l *ledger) grow(size uint64) error {
	n := int(size - l.tree.Size())
	for _, p := range l.pending[:n] {
		if err := l.tree.AddLeaf(p.Leaf); err != nil {
			return err
		}
	}
	l.pending = append(l.pending[:0], l.pending[n:]...)
	return nil
}

// take compares a seal of the log with the tree. It says false where they
// contradict each other; a seal that covers less than the tree still knows apart
// is believed, as the log had it before.
func (l *ledger) take(s eventlog.Seal) (agrees bool, err error) {
	if s.TreeSize > l.size() {
		return false, nil
	}
	if s.TreeSize >= l.tree.Size() {
		if err := l.grow(s.TreeSize); err != nil {
			return false, err
		}
		if !bytes.Equal(l.tree.Root(), s.RootHash) {
			return false, nil
		}
	}
	if s.TreeSize <= l.sealed {
		return true, nil
	}
	l.sealed, l.unsealed = s.TreeSize, 0
	for _, p := range l.pending {
		l.count(p)
	}
	return true, nil
}

// head is the tree over all that was taken.
func (l *ledger) head() (*seal.Tree, error) {
	t := l.tree.Clone()
	for _, p := range l.pending {
		if err := t.AddLeaf(p.Leaf); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// due says whether it is time for a seal: after so many messages, or after so
// long where there were fewer. Seals alone call for none.
func (l *ledger) due(now time.Time, events int, interval time.Duration) bool {
	return l.unsealed >= events || l.unsealed > 0 && now.Sub(l.oldest) >= interval
}
