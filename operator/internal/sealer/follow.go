package sealer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/seal"
)

// follow takes the log into the ledger until that fails.
func (s *Sealer) follow(ctx context.Context, wake chan<- struct{}) error {
	after, err := s.begin(ctx)
	if err != nil {
		return err
	}
	for e, err := range reader.Follow(ctx, s.options.JS, reader.Options{After: after, LogID: s.log}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		if err := s.add(e, err); err != nil {
			return err
		}
		if s.full() {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	}
	return ctx.Err()
}

// begin gives the message to follow after: the last that the ledger has; else the
// last that a seal of this key covers, which its peaks stand for; else none.
// Whether the log still has it, following finds out.
func (s *Sealer) begin(ctx context.Context) (eventlog.Position, error) {
	log, err := logstream.Inspect(ctx, s.options.JS)
	if err != nil {
		return eventlog.Position{}, err
	}
	if s.ledger != nil && s.log == log.ID {
		return eventlog.Position{Sequence: s.ledger.size(), Recorded: s.ledger.recorded}, nil
	}
	s.forget()
	last, err := s.lastSeal(ctx, log.Last)
	if err != nil {
		return eventlog.Position{}, err
	}
	l, err := newLedger(last)
	if err != nil {
		return eventlog.Position{}, err
	}
	if last.TreeSize > 0 {
		m, err := reader.MessageAt(ctx, s.options.JS, eventlog.LogStream, last.TreeSize)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return eventlog.Position{}, fmt.Errorf("%w: message %d, which a seal covers, is missing", errBroken, last.TreeSize)
		}
		if err != nil {
			return eventlog.Position{}, err
		}
		l.recorded = m.Time
	}
	s.mu.Lock()
	s.log, s.ledger = log.ID, l
	s.mu.Unlock()
	s.options.Metrics.sealed.Set(float64(last.TreeSize))
	return eventlog.Position{Sequence: l.size(), Recorded: l.recorded}, nil
}

// lastSeal is the last seal of this key in the log that can be grown from; the
// zero one without.
func (s *Sealer) lastSeal(ctx context.Context, end uint64) (last eventlog.Seal, err error) {
	if end == 0 {
		return last, nil
	}
	for e, err := range reader.Read(ctx, s.options.JS, reader.Options{Until: end, Subjects: []string{eventlog.SealSubject}}) {
		if errors.Is(err, eventlog.ErrForeign) {
			continue
		}
		if err != nil {
			return last, fmt.Errorf("read the seals: %w", err)
		}
		made, err := eventlog.Payload[eventlog.Seal](e)
		if err == nil && len(made.Peaks) > 0 && made.TreeSize < e.Sequence && seal.Check(made, seal.Keys{s.public}) == nil {
			last = made
		}
	}
	return last, nil
}

// add takes one message, and looks at it where it is a seal.
func (s *Sealer) add(e eventlog.Event, foreign error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ledger.add(e); err != nil {
		return err
	}
	if e.Type == eventlog.SealCreated && foreign == nil {
		if err := s.compare(e); err != nil {
			return err
		}
	}
	s.options.Metrics.sealed.Set(float64(s.ledger.sealed))
	s.options.Metrics.lag.Set(float64(s.ledger.size() - s.ledger.sealed))
	return nil
}

func (s *Sealer) compare(e eventlog.Event) error {
	made, err := eventlog.Payload[eventlog.Seal](e)
	if err == nil {
		err = seal.Check(made, nil)
	}
	if err != nil { // it says nothing about the log, only about its writer
		s.options.Logger.Error("ignoring a seal with an invalid signature", "sequence", e.Sequence, "error", err)
		return nil
	}
	if _, known := s.others[made.PublicKey]; made.PublicKey != s.public && !known {
		s.others[made.PublicKey] = struct{}{}
		s.options.Logger.Warn("the event log has seals of another key: name both keys where the log is verified", "sequence", e.Sequence, "public_key", made.PublicKey, "own", s.public)
	}
	agrees, err := s.ledger.take(made)
	if err != nil {
		return err
	}
	if !agrees {
		return fmt.Errorf("%w: the seal at sequence %d, of %s, over %d messages", errBroken, e.Sequence, made.SealedAt.Format(time.RFC3339), made.TreeSize)
	}
	if s.head != nil && made.TreeSize >= s.head.Size() {
		s.head = nil
	}
	return nil
}
