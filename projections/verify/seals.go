package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/seal"
)

// sealCheck grows the tree over the log beside the log's seals, which it reads by
// a consumer of their own: a seal comes after what it covers.
type sealCheck struct {
	js      jetstream.JetStream
	last    uint64 // sequence, up to which seals are read
	trusted seal.Keys
	report  *Report
	sum     Seals

	leaves  seal.Leaves
	size    uint64 // messages that were passed, which is the last one's sequence
	own     *seal.Tree
	resumed *seal.Tree // grown from the last seal that did not hold, so that those after it are still checked

	next  *signed // the first that is still to be checked
	since uint64  // covered by the last seal that was checked
}

// signed is a seal in the log.
type signed struct {
	eventlog.Seal
	sequence uint64
}

// run takes all that comes, also where it fails.
func (c *sealCheck) run(ctx context.Context, batches <-chan []item) error {
	c.own = seal.NewTree()
	next, stop := iter.Pull2(c.seals(ctx))
	defer stop()
	failed := c.advance(next)
	for batch := range batches {
		for i := range batch {
			if failed == nil {
				failed = c.add(&batch[i].Event, next)
			}
		}
	}
	if failed != nil {
		return failed
	}
	for c.next != nil { // covers what is not in the log
		c.hold(nil)
		if err := c.advance(next); err != nil {
			return err
		}
	}
	return nil
}

func (c *sealCheck) seals(ctx context.Context) iter.Seq2[eventlog.Event, error] {
	if c.last == 0 {
		return func(func(eventlog.Event, error) bool) {}
	}
	return reader.Read(ctx, c.js, reader.Options{Until: c.last, Subjects: []string{eventlog.SealSubject}})
}

// advance finds the next seal whose root is to be compared.
func (c *sealCheck) advance(next func() (eventlog.Event, error, bool)) error {
	c.next = nil
	for {
		e, err, ok := next()
		switch {
		case !ok:
			return nil
		case errors.Is(err, eventlog.ErrForeign):
			continue // the fold tells of it
		case err != nil:
			return fmt.Errorf("read the seals: %w", err)
		}
		s, err := eventlog.Payload[eventlog.Seal](e)
		if err != nil || e.Type != eventlog.SealCreated {
			continue
		}
		c.sum.Checked++
		if c.sound(s, e.Sequence) {
			c.next = &signed{s, e.Sequence}
			return nil
		}
	}
}

// sound says whether a seal can be compared with the log at all.
func (c *sealCheck) sound(s eventlog.Seal, sequence uint64) bool {
	err := seal.Check(s, c.trusted)
	switch {
	case errors.Is(err, seal.ErrKey):
		c.report.addf(SealKey, sequence, "%v; trusted is %v", err, c.trusted)
		return false
	case err != nil:
		c.report.addf(SealForged, sequence, "%v", err)
		return false
	case s.TreeSize >= sequence:
		c.report.addf(SealOutOfOrder, sequence, "it covers %d messages, and is the %d. itself", s.TreeSize, sequence)
		return false
	case s.TreeSize <= c.since || s.TreeSize < c.size:
		c.report.addf(SealOutOfOrder, sequence, "it covers %d messages, and one before it covers %d", s.TreeSize, c.since)
		return false
	}
	return true
}

func (c *sealCheck) add(e *eventlog.Event, next func() (eventlog.Event, error, bool)) error {
	leaf := c.leaves.Of(e)
	c.own, c.resumed = grow(c.own, e.Sequence, leaf), grow(c.resumed, e.Sequence, leaf)
	c.size = e.Sequence
	for c.next != nil && c.next.TreeSize <= c.size {
		c.hold(c.rootAt)
		if err := c.advance(next); err != nil {
			return err
		}
	}
	return nil
}

// grow gives the tree with one more message; none where one is missing before it.
func grow(t *seal.Tree, sequence uint64, leaf seal.Leaf) *seal.Tree {
	if t == nil || t.Size()+1 != sequence || t.AddLeaf(leaf) != nil {
		return nil
	}
	return t
}

func (c *sealCheck) rootAt(t *seal.Tree) []byte {
	if t == nil || t.Size() != c.next.TreeSize {
		return nil
	}
	return t.Root()
}

// hold says whether the log is what the next seal covers. Where it is not, the
// seals after it are held against what the seal itself says, so that each part
// of the log is judged alone.
func (c *sealCheck) hold(rootOf func(*seal.Tree) []byte) {
	s := *c.next
	from := c.since + 1
	c.since = s.TreeSize
	held := false
	if rootOf != nil {
		held = bytes.Equal(rootOf(c.own), s.RootHash)
		if !held && bytes.Equal(rootOf(c.resumed), s.RootHash) {
			held, c.own = true, c.resumed // what came before is told already
		}
	}
	if !slices.Contains(c.sum.Keys, s.PublicKey) {
		c.sum.Keys = append(c.sum.Keys, s.PublicKey)
		if len(c.trusted) == 0 && len(c.sum.Keys) > 1 {
			c.report.addf(SealKey, s.sequence, "it is signed by %s, those before it by %s: where the key was changed on purpose, name both", s.PublicKey, c.sum.Keys[0])
		}
	}
	if held {
		c.resumed = nil
		c.sum.Held++
		c.sum.Covered, c.sum.SealedAt, c.sum.Root = s.TreeSize, s.SealedAt, s.RootHash
		return
	}
	c.report.addf(SealBroken, s.sequence, "the messages %d to %d are not those that the seal of %s covers (or the seal was never one of this log)",
		from, s.TreeSize, s.SealedAt.UTC().Format(time.RFC3339))
	if t, err := seal.Grown(s.Seal); err == nil && t.Size() == c.size {
		c.resumed = t
	}
}

// result says how the seals are, of a log that was read up to a sequence.
func (c *sealCheck) result(s *Seals, sequence uint64) {
	pinned := s.Pinned
	*s = c.sum
	s.Pinned, s.Beyond = pinned, sequence-c.sum.Covered
}
