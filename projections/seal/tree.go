// Package seal makes the log tamper-evident: a Merkle tree (RFC 6962) over all its
// messages, whose head the operator signs and appends now and then. Anyone who holds
// the public key finds out by it what was altered, put in, dropped or moved behind
// the fleet's back; docs/proof.md says what it proves, and what it cannot.
package seal

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"fleet.nationtech.io/eventlog"
)

// ErrGap says that the log's messages do not follow one another: one is missing,
// or the log does not begin at sequence 1.
var ErrGap = errors.New("the log has a gap")

// hasher is RFC 6962's, with SHA-256.
var hasher = rfc6962.DefaultHasher

var ranges = &compact.RangeFactory{Hash: hashChildren}

// hashChildren is the hasher's HashChildren, with one piece of memory instead of
// four: a tree has as many nodes as leaves.
func hashChildren(left, right []byte) []byte {
	b := [1 + 2*sha256.Size]byte{rfc6962.RFC6962NodeHashPrefix}
	copy(b[1:], left)
	copy(b[1+sha256.Size:], right)
	sum := sha256.Sum256(b[:])
	return sum[:]
}

// Leaf is the hash of one message: SHA-256 of a zero byte and the message's
// canonical form (RFC 6962, section 2.1).
type Leaf [sha256.Size]byte

// Leaves hashes messages; it keeps the memory that this takes. One goroutine
// uses it.
type Leaves struct{ buf []byte }

// Of hashes one message.
func (l *Leaves) Of(e *eventlog.Event) Leaf {
	l.buf = e.AppendCanonical(append(l.buf[:0], rfc6962.RFC6962LeafHashPrefix))
	return sha256.Sum256(l.buf)
}

// Tree is the Merkle tree over the messages 1 to Size of the log. It keeps no
// more than its peaks, the roots of the perfect trees that make it up: some 64
// hashes at most.
type Tree struct {
	leaves Leaves
	peaks  *compact.Range
}

// NewTree is the tree of an empty log.
func NewTree() *Tree { return &Tree{peaks: ranges.NewEmptyRange(0)} }

// Grown is a tree that a seal covers, to be grown on. The seal must have passed
// Check: only then its peaks are those of its root.
func Grown(s eventlog.Seal) (*Tree, error) {
	r, err := ranges.NewRange(0, s.TreeSize, slices.Clone(s.Peaks))
	if err != nil {
		return nil, fmt.Errorf("peaks of the seal over %d messages: %w", s.TreeSize, err)
	}
	return &Tree{peaks: r}, nil
}

// Clone gives a tree of its own with the same messages.
func (t *Tree) Clone() *Tree {
	r, err := ranges.NewRange(0, t.Size(), slices.Clone(t.peaks.Hashes()))
	if err != nil {
		panic(err) // the peaks are as many as the size wants: the range kept them
	}
	return &Tree{peaks: r}
}

// Add puts the log's next message into the tree. It fails with ErrGap when it is
// not the one after the last.
func (t *Tree) Add(e eventlog.Event) error {
	if want := t.Size() + 1; e.Sequence != want {
		return fmt.Errorf("%w: message %d comes where %d is due", ErrGap, e.Sequence, want)
	}
	return t.AddLeaf(t.leaves.Of(&e))
}

// AddLeaf puts the hash of the next message into the tree.
func (t *Tree) AddLeaf(l Leaf) error { return t.add(l, nil) }

func (t *Tree) add(l Leaf, visit compact.VisitFn) error {
	if err := t.peaks.Append(l[:], visit); err != nil {
		return fmt.Errorf("tree of %d messages: %w", t.Size(), err)
	}
	return nil
}

// Size is the number of messages in the tree, and the sequence of the last.
func (t *Tree) Size() uint64 { return t.peaks.End() }

// Root is the tree's head: what a seal signs.
func (t *Tree) Root() []byte {
	if t.Size() == 0 {
		return hasher.EmptyRoot()
	}
	root, err := t.peaks.GetRootHash(nil)
	if err != nil {
		panic(err) // the range begins at 0
	}
	return slices.Clone(root) // of a perfect tree it is the tree's own peak
}

// Peaks are the roots of the perfect trees that make up the tree, from the left.
func (t *Tree) Peaks() [][]byte { return slices.Clone(t.peaks.Hashes()) }
