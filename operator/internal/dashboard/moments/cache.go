package moments

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"fleet.nationtech.io/operator/resource"
)

// key names a view of the past: where in the log it is, and the time to which ages count.
type key struct {
	logID    string
	sequence uint64
	clock    int64 // nanoseconds since 1970; 0: that of the event
}

// compare orders keys.
func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.sequence, o.sequence), cmp.Compare(k.clock, o.clock), cmp.Compare(k.logID, o.logID))
}

// patience is how long work goes on for those who had no more time to wait for it, and may
// ask again.
const patience = time.Minute

// cache keeps a few views of the past, and never has more. Who asks for one that is being made
// waits with the others who do. When the last of them has gone away, the work on it ends; where
// one of them had no more time, it goes on for as long as patience.
type cache struct {
	views  int                 // at most
	places *semaphore.Weighted // one for each that somebody may have
	folds  chan struct{}       // one for each that is being made

	mu      sync.Mutex
	entries map[key]*entry
}

// entry is a view of the past, or becomes one.
type entry struct {
	made    chan struct{} // closes once catalog or err is there
	catalog *resource.Catalog
	err     error
	alone   sync.Mutex // who has the catalog

	// Guarded by the cache.
	waiting int // who wait until it is made, or use it
	used    time.Time
	stop    context.CancelFunc
	later   *time.Timer // stops the work on it; nil: nobody had too little time
}

func newCache(views, folds int) *cache {
	return &cache{
		views: views, places: semaphore.NewWeighted(int64(views)), folds: make(chan struct{}, folds), entries: map[key]*entry{},
	}
}

// enter waits until a caller may hold so many entries: those who hold none wait for those who
// do, and nobody who holds one waits for another.
func (c *cache) enter(ctx context.Context, entries int) (leave func(), err error) {
	if entries == 0 {
		return func() {}, nil
	}
	if err := c.places.Acquire(ctx, int64(entries)); err != nil {
		return nil, err
	}
	return func() { c.places.Release(int64(entries)) }, nil
}

// hold gives the entry of a key, made by load where it is not kept. Who has it leaves it, and
// has entered before.
func (c *cache) hold(ctx context.Context, k key, now time.Time, load func(context.Context) (*resource.Catalog, error)) (*entry, error) {
	e := c.take(ctx, k, now, load)
	var err error
	select {
	case <-e.made:
		err = e.err
	case <-ctx.Done():
		if err = ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
			c.goOn(k, e)
		}
	}
	if err != nil {
		c.leave(k, e)
		return nil, err
	}
	return e, nil
}

// take gives the entry of a key, and begins to make one that is not there.
func (c *cache) take(ctx context.Context, k key, now time.Time, load func(context.Context) (*resource.Catalog, error)) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		e = &entry{made: make(chan struct{})}
		work, stop := context.WithCancel(context.WithoutCancel(ctx))
		e.stop = stop
		c.entries[k] = e
		c.makeRoom(e)
		go func() {
			defer stop()
			select {
			case c.folds <- struct{}{}:
				e.catalog, e.err = load(work)
				<-c.folds
			case <-work.Done():
				e.err = work.Err()
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if e.err != nil && c.entries[k] == e {
				delete(c.entries, k) // it is tried again
			}
			close(e.made)
		}()
	}
	e.waiting++
	e.used = now
	return e
}

// goOn lets the work on an entry go on for a while though nobody may wait for it.
func (c *cache) goOn(k key, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.later != nil {
		e.later.Reset(patience)
		return
	}
	e.later = time.AfterFunc(patience, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		e.later = nil
		c.abandon(k, e)
	})
}

// leave notes that one who waited for an entry, or used it, is gone.
func (c *cache) leave(k key, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.waiting--
	c.abandon(k, e)
}

// abandon ends the work on an entry that is not made yet, where nobody waits for it.
func (c *cache) abandon(k key, e *entry) {
	select {
	case <-e.made:
	default:
		if e.waiting == 0 && e.later == nil && c.entries[k] == e {
			c.drop(k, e)
		}
	}
}

// drop forgets an entry, and ends the work on it.
func (c *cache) drop(k key, e *entry) {
	e.stop()
	if e.later != nil {
		e.later.Stop()
	}
	delete(c.entries, k)
}

// makeRoom forgets the entries that were used longest ago, as far as nobody has them. Those
// that somebody has are as many at most as there are places.
func (c *cache) makeRoom(but *entry) {
	for len(c.entries) > c.views {
		var oldest key
		var found *entry
		for k, e := range c.entries {
			if e != but && e.waiting == 0 && (found == nil || e.used.Before(found.used)) {
				oldest, found = k, e
			}
		}
		if found == nil {
			return
		}
		c.drop(oldest, found)
	}
}

// forget forgets what was not used since.
func (c *cache) forget(since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.entries {
		if e.waiting == 0 && e.used.Before(since) {
			c.drop(k, e)
		}
	}
}
