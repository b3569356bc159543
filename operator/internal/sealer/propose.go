package sealer

import (
	"context"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/seal"
)

// look proposes a seal whenever one is due, until the term ends. It hashes what
// came since the last, so that the decider need not wait for that.
func (s *Sealer) look(ctx context.Context, wake <-chan struct{}) {
	tick := time.NewTicker(max(10*time.Millisecond, min(look, s.options.Interval/4)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-tick.C:
		}
		if s.prepare() {
			s.options.Propose()
		}
	}
}

// prepare says whether a seal is to be had, and makes its head.
func (s *Sealer) prepare() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	if s.head != nil {
		if s.handed.IsZero() {
			return true // not asked for yet
		}
		if now.Sub(s.handed) < handedTimeout {
			return false
		}
		s.head = nil
	}
	// Without its own election in the tree a leader does not know what the one
	// before it sealed.
	if s.ledger == nil || s.ledger.size() < s.token || !s.ledger.due(now, s.options.Events, s.options.Interval) {
		return false
	}
	head, err := s.ledger.head()
	if err != nil {
		s.options.Logger.Error("cannot make a seal", "error", err)
		return false
	}
	s.head, s.handed = head, time.Time{}
	return true
}

// Due gives the seal that is to be appended, once; nothing where none is. It does
// not wait: while the sealer is busy it gives nothing, and the seal is proposed
// again.
func (s *Sealer) Due(now time.Time) ([]eventlog.Draft, error) {
	if !s.mu.TryLock() {
		return nil, nil
	}
	defer s.mu.Unlock()
	if s.head == nil || !s.handed.IsZero() || s.head.Size() < s.token {
		return nil, nil
	}
	s.handed = now
	made, err := seal.Sign(s.key, s.head, now)
	if err != nil {
		return nil, err
	}
	d, err := eventlog.NewDraft(eventlog.SealSubject, eventlog.SealCreated, now, made)
	if err != nil {
		return nil, err
	}
	return []eventlog.Draft{d}, nil
}
