package checkup

import (
	"context"
	"iter"
	"time"

	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
)

// lookEvery is how often the list is made anew, presentEvery how often the servers are asked
// for what the log does not say.
const (
	lookEvery    = time.Second
	presentEvery = 30 * time.Second
)

// lookout makes the list anew, again and again.
type lookout struct {
	now  func() time.Time
	view func(func(*fleet.View))
	// ask asks the servers for what the log does not say, and how far their clock is ahead.
	ask   func(context.Context) (attention.Facts, time.Duration, error)
	facts attention.Facts // what they said last; the habits stay
	ahead time.Duration
}

// pages are the list as it becomes, until the context ends.
func (l lookout) pages(ctx context.Context) iter.Seq[page] {
	return func(yield func(page) bool) {
		for asked := l.now(); ctx.Err() == nil; {
			now := l.now()
			if now.Sub(asked) >= presentEvery {
				asked = now
				if again, ahead, err := l.ask(ctx); err == nil {
					again.Habits = l.facts.Habits
					l.facts, l.ahead = again, ahead
				}
				if now = l.now(); ctx.Err() != nil {
					return
				}
			}
			var one page
			l.view(func(v *fleet.View) {
				one = page{Sequence: v.Sequence, Time: now.Add(l.ahead)}
				one.look(v, l.facts)
			})
			if !yield(one) {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(lookEvery):
			}
		}
	}
}
