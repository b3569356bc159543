package moments

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/present"
)

const (
	presentEvery = 30 * time.Second // the servers are asked how log and buckets are
	habitsEvery  = time.Hour        // the devices' habits are read again: a month of their events
)

// servers is what the NATS servers told last of the present.
type servers struct {
	came chan struct{} // closes once they told something

	mu    sync.Mutex
	facts attention.Facts
	ahead time.Duration
}

func newServers() *servers { return &servers{came: make(chan struct{})} }

func (s *servers) tell(f attention.Facts, ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts, s.ahead = f, ahead
	select {
	case <-s.came:
	default:
		close(s.came)
	}
}

// ask asks the servers again and again, until the context ends.
func (m *Moments) ask(ctx context.Context, s *servers) {
	var habits map[string]time.Duration
	var learned time.Time
	for ctx.Err() == nil {
		next := presentEvery
		f, ahead, err := present.Look(ctx, m.js, m.now)
		if err == nil {
			f.Habits = habits
			if fold, err := present.Fold(ctx, m.js); err == nil {
				f.Fold = fold
			} else if ctx.Err() == nil {
				m.logger.Debug("cannot ask an operator how far it has folded the log; will retry", "error", err)
			}
			s.tell(f, ahead)
			if now := m.now(); learned.IsZero() || now.Sub(learned) >= habitsEvery {
				if f.Habits, err = present.Habits(ctx, m.js, now.Add(ahead)); err == nil {
					habits, learned = f.Habits, now
					s.tell(f, ahead)
				}
			}
		}
		if err != nil && ctx.Err() == nil {
			next = retry
			m.logger.Debug("cannot ask the servers how log and buckets are; will retry", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(next):
		}
	}
}

// Present is what the log does not say of the present, half a minute old at most, and how far
// the servers' clock is ahead of this machine's. Habits may be missing for the first seconds.
func (m *Moments) Present(ctx context.Context) (attention.Facts, time.Duration, error) {
	l, err := m.present(ctx)
	if err != nil {
		return attention.Facts{}, 0, err
	}
	select {
	case <-l.servers.came:
	case <-ctx.Done():
		return attention.Facts{}, 0, fmt.Errorf("ask the servers how log and buckets are: %w", ctx.Err())
	}
	l.servers.mu.Lock()
	defer l.servers.mu.Unlock()
	return l.servers.facts, l.servers.ahead, nil
}
