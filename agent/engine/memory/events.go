package memory

import (
	"context"
	"time"

	"fleet.nationtech.io/agent/engine"
)

// Events tells what happens until the context ends.
func (m *Memory) Events(ctx context.Context, notify func(engine.Event)) error {
	events := make(chan engine.Event, 64)
	m.mu.Lock()
	m.watched++
	id := m.watched
	m.watchers[id] = events
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.watchers, id)
		m.mu.Unlock()
	}()
	for {
		next, err := m.nextEnd()
		if err != nil {
			return err
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case e := <-events:
			timer.Stop()
			notify(e)
		case <-timer.C:
		}
	}
}

// nextEnd lets happen what is due, and gives the time until a container will end
// by itself.
func (m *Memory) nextEnd() (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.advance(); err != nil {
		return 0, err
	}
	next := time.Minute
	for _, c := range m.containers {
		if name(c.Image) == FaultCrash && c.Observed.State == engine.StateRunning {
			next = min(next, c.Observed.StartedAt.Add(crashAfter).Sub(m.options.Now()))
		}
	}
	return max(next, time.Millisecond), nil
}
