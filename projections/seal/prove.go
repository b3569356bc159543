package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
)

// Why there is no proof of a message.
var (
	// ErrNotInLog: there is no such message.
	ErrNotInLog = errors.New("is not in the log")
	// ErrNotSealed: no seal that counts covers the message yet.
	ErrNotSealed = errors.New("is covered by no seal yet")
	// ErrTampered: the log is not what was sealed.
	ErrTampered = errors.New("the log is not what was sealed")
)

// ProveOptions say how a proof is made.
type ProveOptions struct {
	Trusted Keys // by which seals must be signed; none: by whichever they name
	// Progress is told how many messages were read and about how many there are.
	// It may be nil.
	Progress func(done, total uint64)
}

// Prove makes the proof of one message, by the first seal that covers it. It
// reads the messages from the seal before to that one.
//
// Errors: ErrNotInLog, ErrNotSealed (which says when the next is due),
// ErrTampered; those of reading the log.
func Prove(ctx context.Context, js jetstream.JetStream, sequence uint64, o ProveOptions) (Proof, error) {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return Proof{}, err
	}
	if sequence == 0 || sequence > log.Last {
		return Proof{}, fmt.Errorf("sequence %d %w, which ends at %d", sequence, ErrNotInLog, log.Last)
	}
	before, covering, err := around(ctx, js, sequence, o.Trusted)
	if err != nil {
		return Proof{}, err
	}
	if covering.TreeSize == 0 {
		return Proof{}, notYet(ctx, js, sequence, before, log.Last)
	}
	t := NewTree()
	if before.TreeSize > 0 {
		if t, err = Grown(before); err != nil {
			return Proof{}, err
		}
	}
	return grow(ctx, js, t, sequence, covering, o.Progress)
}

// around finds the first seal that covers a message and the last that does not
// and can be grown from; the zero one where there is none. Those that prove
// nothing are passed over.
func around(ctx context.Context, js jetstream.JetStream, sequence uint64, trusted Keys) (before, covering eventlog.Seal, err error) {
	for e, err := range reader.Read(ctx, js, reader.Options{Subjects: []string{eventlog.SealSubject}}) {
		if errors.Is(err, eventlog.ErrForeign) {
			continue
		}
		if err != nil {
			return before, covering, fmt.Errorf("read the seals: %w", err)
		}
		s, err := eventlog.Payload[eventlog.Seal](e)
		switch {
		case err != nil, Check(s, trusted) != nil, s.TreeSize >= e.Sequence: // none that counts
		case s.TreeSize >= sequence:
			return before, s, nil
		case len(s.Peaks) > 0 && s.TreeSize > before.TreeSize:
			before = s
		}
	}
	return before, covering, nil
}

// notYet says when a seal is to be expected.
func notYet(ctx context.Context, js jetstream.JetStream, sequence uint64, last eventlog.Seal, end uint64) error {
	m, err := reader.MessageAt(ctx, js, eventlog.LogStream, sequence)
	if err != nil {
		return err
	}
	have := "this log has none"
	if last.TreeSize > 0 {
		have = fmt.Sprintf("the last, of %s, covers %d messages of %d", last.SealedAt.UTC().Format(time.RFC3339), last.TreeSize, end)
	}
	if m.Subject == eventlog.SealSubject {
		return fmt.Errorf("sequence %d %w: it is a seal itself, and comes under the one after the next event", sequence, ErrNotSealed)
	}
	due := m.Time.Add(DefaultInterval)
	return fmt.Errorf("sequence %d %w: %s; the next is due by %s, or after %d messages (where the operator is not told otherwise)",
		sequence, ErrNotSealed, have, due.UTC().Format(time.RFC3339), DefaultEvents)
}

func grow(ctx context.Context, js jetstream.JetStream, t *Tree, sequence uint64, s eventlog.Seal, progress func(done, total uint64)) (Proof, error) {
	p, err := newPath(sequence-1, s.TreeSize)
	if err != nil {
		return Proof{}, err
	}
	made := Proof{Format: ProofFormat, Index: sequence - 1, Seal: s}
	made.Seal.Peaks = nil // the root is enough
	for e, err := range reader.Read(ctx, js, reader.Options{From: t.Size() + 1, Until: s.TreeSize, Progress: progress}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return Proof{}, fmt.Errorf("read the log: %w", err)
		}
		if e.Sequence != t.Size()+1 {
			return Proof{}, fmt.Errorf("%w: %w: message %d is missing", ErrTampered, ErrGap, t.Size()+1)
		}
		if e.Sequence == sequence {
			p.begin(t)
			made.Leaf = e.AppendCanonical(nil)
		}
		if err := t.add(t.leaves.Of(&e), p.visit); err != nil {
			return Proof{}, err
		}
	}
	if t.Size() != s.TreeSize || !bytes.Equal(t.Root(), s.RootHash) {
		return Proof{}, fmt.Errorf("%w over its messages up to %d", ErrTampered, s.TreeSize)
	}
	made.Hashes, err = p.hashes()
	return made, err
}
