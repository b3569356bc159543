package checkup

import (
	"context"
	"iter"
	"strings"
	"sync"
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
	// connected says whether there is a connection, and heard what was said last of an outage.
	connected func() bool
	heard     func() string
}

// pages are the list as it becomes, until the context ends.
func (l lookout) pages(ctx context.Context) iter.Seq[page] {
	return func(yield func(page) bool) {
		lost := time.Time{} // since when there is no connection
		before := ""        // what was said before that
		for asked := l.now(); ctx.Err() == nil; {
			now := l.now()
			if lost.IsZero() && now.Sub(asked) >= presentEvery {
				asked = now
				if again, ahead, err := l.ask(ctx); err == nil {
					again.Habits = l.facts.Habits
					l.facts, l.ahead = again, ahead
				}
				if now = l.now(); ctx.Err() != nil {
					return
				}
			}
			var outage string
			switch {
			case l.connected():
				lost, before = time.Time{}, l.heard()
			case lost.IsZero():
				lost = now
			}
			if !lost.IsZero() { // the fleet of then is shown, and its clock stands
				now, outage = lost, "There is no connection to the NATS servers; trying until it is back."
				if said := l.heard(); said != before {
					outage = said
				}
			}
			var one page
			l.view(func(v *fleet.View) {
				one = page{Sequence: v.Sequence, Time: now.Add(l.ahead), Outage: outage}
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

// outage takes the lines that are said of the connection, and keeps the last one.
type outage struct {
	mu   sync.Mutex
	line string
}

// Write takes a line.
func (o *outage) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.line = strings.TrimSpace(string(b))
	return len(b), nil
}

func (o *outage) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.line
}
