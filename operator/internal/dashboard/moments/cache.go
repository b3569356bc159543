package moments

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// key names a view of the past: where in the log it is, and the time to which ages count.
type key struct {
	logID    string
	sequence uint64
	clock    int64 // nanoseconds since 1970; 0: that of the event
	// known is where the log ended when the moment as it happened was asked for, which its view
	// has at least; 0: the moment is as the log knew it.
	known uint64
}

// question is what keys have in common that ask for the same of a log that grows.
func (k key) question() key {
	k.known = min(k.known, 1)
	return k
}

// compare orders keys.
func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.sequence, o.sequence), cmp.Compare(k.clock, o.clock), cmp.Compare(k.known, o.known), cmp.Compare(k.logID, o.logID))
}

// patience is how long work goes on after a caller had no more time to wait for it: it may ask
// again. The work ends sooner where others need its place (makeRoom).
const patience = time.Minute

// ErrUnfolded says that a caller had no more time to wait for a moment of the past. The work on it
// goes on for as long as patience.
var ErrUnfolded = errors.New("the event log is not folded up to there yet")

// cache keeps a few views of the past, or of what was made of them, and never has more. Callers
// that ask for one that is being made wait for it together. When the last of them has gone away, the
// work on it ends; where one of them had no more time, it goes on for as long as patience, at most.
type cache[V any] struct {
	views  int                 // at most
	places *semaphore.Weighted // one for each that a reader may have
	folds  chan struct{}       // one for each that is being made
	whole  chan struct{}       // one for that which is being made as it happened

	mu      sync.Mutex
	entries map[key]*entry[V]
}

// entry is a view of the past, or what was made of one; or it becomes that.
type entry[V any] struct {
	key   key
	made  chan struct{} // closes once value or err is there
	value V
	err   error
	alone sync.Mutex // held by the caller that has the value

	// Guarded by the cache.
	waiting int // callers that wait until it is made, or use it
	used    time.Time
	ended   time.Time // the work on it; zero: it is being made
	stop    context.CancelFunc
	later   *time.Timer // stops the work on it; nil: no caller had too little time
}

func newCache[V any](views, folds int) *cache[V] {
	return &cache[V]{
		views: views, places: semaphore.NewWeighted(int64(views)), folds: make(chan struct{}, folds), whole: make(chan struct{}, 1), entries: map[key]*entry[V]{},
	}
}

// enter waits until a caller may hold so many entries. Callers that hold none wait for those that
// do, and none that holds one waits for another.
func (c *cache[V]) enter(ctx context.Context, entries int) (leave func(), err error) {
	if entries == 0 {
		return func() {}, nil
	}
	if err := c.places.Acquire(ctx, int64(entries)); err != nil {
		return nil, err
	}
	return func() { c.places.Release(int64(entries)) }, nil
}

// hold gives the entry that answers a key, made by load where none is kept. The caller leaves it,
// by the entry's own key, and has entered before.
func (c *cache[V]) hold(ctx context.Context, k key, now time.Time, load func(context.Context) (V, error)) (*entry[V], error) {
	e := c.take(ctx, k, now, load)
	k = e.key
	var err error
	select {
	case <-e.made:
		err = e.err
	case <-ctx.Done():
		if err = ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
			c.goOn(k, e)
			err = fmt.Errorf("%w: %w", ErrUnfolded, err)
		}
	}
	if err != nil {
		c.leave(k, e)
		return nil, err
	}
	return e, nil
}

// take gives the entry that answers a key, and begins to make one that is not there.
func (c *cache[V]) take(ctx context.Context, k key, now time.Time, load func(context.Context) (V, error)) *entry[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.find(k)
	if e == nil {
		e = &entry[V]{key: k, made: make(chan struct{})}
		work, stop := context.WithCancel(context.WithoutCancel(ctx))
		e.stop = stop
		c.entries[k] = e
		c.makeRoom(e)
		go func() {
			defer stop()
			end, err := c.begin(work, k)
			if e.err = err; err == nil {
				e.value, e.err = load(work)
				end()
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			e.ended = time.Now()
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

// begin waits for the turn of the work on an entry. A moment as it happened is made of two views, and
// that takes long: there is one such work at a time, and one that waits for it keeps nobody else waiting.
func (c *cache[V]) begin(work context.Context, k key) (end func(), err error) {
	turns := []chan struct{}{c.folds}
	if k.known > 0 {
		turns = []chan struct{}{c.whole, c.folds}
	}
	for i, turn := range turns {
		select {
		case turn <- struct{}{}:
		case <-work.Done():
			giveBack(turns[:i])
			return nil, work.Err()
		}
	}
	return func() { giveBack(turns) }, nil
}

func giveBack(turns []chan struct{}) {
	for _, turn := range turns {
		<-turn
	}
}

// find gives the entry that answers a key; nil: there is none. A moment as it happened is answered
// also by what is still being made, or was made less than lateFor ago, though the log has grown since
// it was begun. Else those who ask again of a log that grows would each time begin anew.
func (c *cache[V]) find(k key) *entry[V] {
	if e := c.entries[k]; e != nil || k.known == 0 {
		return e
	}
	for o, e := range c.entries {
		switch {
		case o.question() != k.question():
		case e.ended.IsZero() || time.Since(e.ended) < lateFor:
			return e
		case e.waiting == 0:
			c.drop(o, e) // the log went on: nobody will ask for it
		}
	}
	return nil
}

// goOn lets the work on an entry go on for a while though no caller may wait for it.
func (c *cache[V]) goOn(k key, e *entry[V]) {
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

// leave notes that a caller that waited for an entry, or used it, is gone.
func (c *cache[V]) leave(k key, e *entry[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.waiting--
	c.abandon(k, e)
}

// abandon ends the work on an entry that is not made yet, where no caller waits for it.
func (c *cache[V]) abandon(k key, e *entry[V]) {
	select {
	case <-e.made:
	default:
		if e.waiting == 0 && e.later == nil && c.entries[k] == e {
			c.drop(k, e)
		}
	}
}

// drop forgets an entry, and ends the work on it.
func (c *cache[V]) drop(k key, e *entry[V]) {
	e.stop()
	if e.later != nil {
		e.later.Stop()
	}
	delete(c.entries, k)
}

// makeRoom forgets the entries that were used longest ago, as far as no caller has them. Those
// that a reader has are as many at most as there are places.
func (c *cache[V]) makeRoom(but *entry[V]) {
	for len(c.entries) > c.views {
		var oldest key
		var found *entry[V]
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
func (c *cache[V]) forget(since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.entries {
		if e.waiting == 0 && e.used.Before(since) {
			c.drop(k, e)
		}
	}
}
