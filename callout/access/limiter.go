package access

import (
	"strings"
	"sync"
	"time"

	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/refusal"
)

const connectWindow = time.Minute

// Limits bound what one identity has of connections.
type Limits struct {
	Connects    int // that are accepted within a minute
	Connections int // that are left open
}

// LimitsOf gives the limits of a user of NATS. A device has one connection in use, one
// that takes over, and one whose end the server has not noticed yet. A person has
// several windows, and a script that runs one command after the other.
func LimitsOf(actor string) Limits {
	if strings.HasPrefix(actor, string(identity.Device)+"-") {
		return Limits{Connects: 20, Connections: 3}
	}
	return Limits{Connects: 120, Connections: 20}
}

// Limiter counts connects of each identity: those that this replica granted, and
// those of all replicas as servers tell of them. The larger number counts.
type Limiter struct {
	now func() time.Time

	mu      sync.Mutex
	actors  map[string]*connects
	cleared time.Time
}

// connects are the moments of the last connects, at most so many of each kind as the
// identity may make.
type connects struct {
	granted, seen []time.Time
}

// NewLimiter makes a Limiter; now may be nil.
func NewLimiter(now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{now: now, actors: map[string]*connects{}}
}

// Connect counts a connect that is to be granted. It fails with a *refusal.Error
// where there were too many.
func (l *Limiter) Connect(actor string) error {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear(now)
	c := l.of(actor)
	c.granted, c.seen = recent(c.granted, now), recent(c.seen, now)
	if most := LimitsOf(actor).Connects; max(len(c.granted), len(c.seen)) >= most {
		return refusal.New(refusal.TooManyConnects, "%.80q connected %d times within a minute, at most %d are accepted: one identity may be in use on several machines", actor, most, most)
	}
	c.granted = append(c.granted, now)
	return nil
}

// Seen counts a connect that a server told of.
func (l *Limiter) Seen(actor string) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear(now)
	c := l.of(actor)
	if c.seen = recent(c.seen, now); len(c.seen) < LimitsOf(actor).Connects {
		c.seen = append(c.seen, now)
	}
}

func (l *Limiter) of(actor string) *connects {
	c, ok := l.actors[actor]
	if !ok {
		c = &connects{}
		l.actors[actor] = c
	}
	return c
}

// clear forgets, once a minute, who has not connected for a minute.
func (l *Limiter) clear(now time.Time) {
	if now.Sub(l.cleared) < connectWindow {
		return
	}
	l.cleared = now
	for actor, c := range l.actors {
		if len(recent(c.granted, now))+len(recent(c.seen, now)) == 0 {
			delete(l.actors, actor)
		}
	}
}

func recent(all []time.Time, now time.Time) []time.Time {
	for len(all) > 0 && now.Sub(all[0]) >= connectWindow {
		all = all[1:]
	}
	return all
}
