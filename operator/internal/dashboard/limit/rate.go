package limit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often a person may ask: so many at once, and one more in so much time.
const (
	atOnce  = 10
	oneMore = time.Second
)

// keptPersons is how many persons are remembered at most.
const keptPersons = 1000

// Rates keep each person from asking too often, as by a key that is held down.
type Rates struct {
	mu      sync.Mutex
	byActor map[string]*rate.Limiter
}

// NewRates gives rates of persons who have not asked yet.
func NewRates() *Rates { return &Rates{byActor: map[string]*rate.Limiter{}} }

// Take says whether a person may ask once more now.
func (l *Rates) Take(actor string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.byActor[actor]
	if of == nil {
		if len(l.byActor) >= keptPersons {
			l.forget(now)
		}
		of = rate.NewLimiter(rate.Every(oneMore), atOnce)
		l.byActor[actor] = of
	}
	return of.AllowN(now, 1)
}

// forget drops those who may ask as often as a new person.
func (l *Rates) forget(now time.Time) {
	for actor, of := range l.byActor {
		if of.TokensAt(now) >= atOnce {
			delete(l.byActor, actor)
		}
	}
}
