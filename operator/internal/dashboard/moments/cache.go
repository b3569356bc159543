package moments

import (
	"cmp"
	"context"
	"sync"
	"time"

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

// cache keeps a few views of the past. Who asks for one that is being made waits with the
// others who do; when the last of them has left, the work on it ends.
type cache struct {
	views int           // at most
	folds chan struct{} // one for each that is being made

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
}

func newCache(views, folds int) *cache {
	return &cache{views: views, folds: make(chan struct{}, folds), entries: map[key]*entry{}}
}

// hold gives the entry of a key, made by load where it is not kept. Who has it leaves it.
func (c *cache) hold(ctx context.Context, k key, now time.Time, load func(context.Context) (*resource.Catalog, error)) (*entry, error) {
	e := c.take(ctx, k, now, load)
	var err error
	select {
	case <-e.made:
		err = e.err
	case <-ctx.Done():
		err = ctx.Err()
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
			defer close(e.made)
			select {
			case c.folds <- struct{}{}:
				defer func() { <-c.folds }()
				e.catalog, e.err = load(work)
			case <-work.Done():
				e.err = work.Err()
			}
		}()
	}
	e.waiting++
	e.used = now
	return e
}

// leave notes that one who waited for an entry, or used it, is gone. One that nobody waits
// for any more is not made to its end, and one that failed is not kept.
func (c *cache) leave(k key, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.waiting--
	made := false
	select {
	case <-e.made:
		made = true
	default:
	}
	if (!made && e.waiting == 0 || made && e.err != nil) && c.entries[k] == e {
		e.stop()
		delete(c.entries, k)
	}
	c.makeRoom(nil)
}

// makeRoom forgets the entries that were used longest ago, as far as nobody has them.
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
			return // all are in use: their readers are bounded by the server
		}
		delete(c.entries, oldest)
	}
}

// forget forgets what was not used since.
func (c *cache) forget(since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.entries {
		if e.waiting == 0 && e.used.Before(since) {
			delete(c.entries, k)
		}
	}
}
