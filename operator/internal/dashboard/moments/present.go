package moments

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fleet.nationtech.io/eventlog/pause"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/present"
)

const (
	presentEvery = 30 * time.Second // after they answered, the servers are asked again how log and buckets are
	habitsEvery  = time.Hour        // the devices' habits are read again: a month of their events
	habitsRetry  = 5 * time.Minute  // habits that cannot be read are left alone for, at most
)

// questions are what the servers are asked.
type questions struct {
	look   func(context.Context) (f attention.Facts, ahead time.Duration, err error) // without the habits
	habits func(ctx context.Context, at time.Time) (map[string]time.Duration, error) // by the servers' clock
}

// questions gives those of package present.
func (m *Moments) questions() questions {
	return questions{
		look: func(ctx context.Context) (attention.Facts, time.Duration, error) {
			f, ahead, err := present.Look(ctx, m.js, m.now)
			if err != nil {
				return f, 0, err
			}
			fold, err := present.Fold(ctx, m.js)
			if err == nil {
				f.Fold = fold
			} else if ctx.Err() == nil {
				m.logger.Debug("cannot ask an operator how far it has folded the log; will retry", "error", err)
			}
			return f, ahead, nil
		},
		habits: func(ctx context.Context, at time.Time) (map[string]time.Duration, error) {
			return present.Habits(ctx, m.js, at)
		},
	}
}

// servers is what the NATS servers told last of the present.
type servers struct {
	came chan struct{} // closes once they told something

	mu     sync.Mutex
	facts  attention.Facts // without the habits
	ahead  time.Duration
	habits map[string]time.Duration
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

func (s *servers) tellHabits(h map[string]time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.habits = h
}

// told gives all that they told.
func (s *servers) told() (attention.Facts, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.facts
	f.Habits = s.habits
	return f, s.ahead
}

// ask asks the servers again and again, until the context ends.
func (m *Moments) ask(ctx context.Context, s *servers, q questions) {
	var habits sync.WaitGroup
	defer habits.Wait()
	habits.Go(func() { m.learn(ctx, s, q) })
	for ctx.Err() == nil {
		next := presentEvery
		if f, ahead, err := q.look(ctx); err == nil {
			s.tell(f, ahead)
		} else if ctx.Err() == nil {
			next = retry
			m.logger.Debug("cannot ask the servers how log and buckets are; will retry", "error", err)
		}
		pause.For(ctx, next)
	}
}

// learn reads the devices' habits again and again, until the context ends. That may take long, and
// costs the servers much, so no look waits for it, and after a failure it comes less and less often.
func (m *Moments) learn(ctx context.Context, s *servers, q questions) {
	select {
	case <-s.came: // how far the servers' clock is ahead
	case <-ctx.Done():
	}
	for failed := retry; ctx.Err() == nil; {
		next := habitsEvery
		_, ahead := s.told()
		if h, err := q.habits(ctx, m.now().Add(ahead)); err == nil {
			s.tellHabits(h)
			failed = retry
		} else if ctx.Err() == nil {
			next, failed = failed, min(2*failed, habitsRetry)
			m.logger.Debug("cannot read the habits of devices; will retry", "error", err, "after", next)
		}
		pause.For(ctx, next)
	}
}

// Present is what the log does not say of the present, as the servers told it last, which they are asked
// each half minute, and how far their clock is ahead of this machine's. Habits are missing until they
// were read.
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
	f, ahead := l.servers.told()
	return f, ahead, nil
}
