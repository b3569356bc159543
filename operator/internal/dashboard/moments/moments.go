// Package moments gives readers the fleet now and at moments of the past, each as a catalog
// that one reader has at a time. It reads the event log alone, as fleetctl does, so that a
// page shows what fleetctl get shows, and no page takes the lock of decisions.
package moments

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/lag"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

const (
	retry    = time.Second      // a log that cannot be followed is left alone for
	keepPast = 10 * time.Minute // a view of the past that is not asked for stays
)

// Options wire Moments.
type Options struct {
	JS     jetstream.JetStream
	Logger *slog.Logger
	Now    func() time.Time
	// Views is how many views of the past there are at most; 0: 4. One is as large as the
	// operator's own fold. A reader that wants another one waits until one is no longer used.
	Views int
	// Folds is how many views of the past are made at a time; 0: 2.
	Folds int
}

// Moments keeps the view now up to date, and a few views of the past.
type Moments struct {
	js     jetstream.JetStream
	logger *slog.Logger
	now    func() time.Time
	past   *cache[*Fleet]
	steps  *cache[[]viewdiff.Change] // what single events changed

	mu   sync.Mutex
	live *live         // nil until the log is folded up to its end
	came chan struct{} // closes once live is there
}

// live is the view now.
type live struct {
	logID    string
	sequence *atomic.Uint64 // of the last event that is folded
	newest   *newest
	servers  *servers
	follower *fleet.Follower
	catalog  *resource.Catalog // of the follower's view; used under its lock
}

// Fleet is the fleet at a moment, for as long as the function runs that is given it.
type Fleet struct {
	Catalog *resource.Catalog
	LogID   string
	Now     bool // it is not of the past
	// Differs is in how many things a moment as it happened differs from what the log knew.
	Differs int
}

// New wires moments; Run follows the log.
func New(o Options) *Moments {
	if o.Views == 0 {
		o.Views = 4
	}
	o.Views = max(o.Views, 2) // a comparison has two moments
	if o.Folds == 0 {
		o.Folds = 2
	}
	return &Moments{
		js: o.JS, logger: o.Logger, now: o.Now, past: newCache[*Fleet](o.Views, o.Folds), steps: newCache[[]viewdiff.Change](keptSteps, 1),
		came: make(chan struct{}),
	}
}

// Run follows the log until the context ends.
func (m *Moments) Run(ctx context.Context) error {
	var tidy sync.WaitGroup
	defer tidy.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer m.forget(time.Unix(math.MaxInt32, 0)) // work that no reader waits for ends
	tidy.Go(func() { m.tidy(ctx) })
	for {
		err := m.follow(ctx)
		m.lose()
		if ctx.Err() != nil {
			return nil // it was told to end
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) && !errors.Is(err, logstream.ErrRestoring) { // it is about to be made
			m.logger.Warn("cannot follow the event log for the dashboard; will retry", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
	}
}

// tidy forgets views of the past that are not asked for.
func (m *Moments) tidy(ctx context.Context) {
	t := time.NewTicker(keepPast / 10)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			m.forget(m.now().Add(-keepPast))
		}
	}
}

// forget forgets what was not used since.
func (m *Moments) forget(since time.Time) {
	m.past.forget(since)
	m.steps.forget(since)
}

// follow folds the log until that fails.
func (m *Moments) follow(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	log, err := logstream.Inspect(ctx, m.js)
	if err != nil {
		return err
	}
	follower, last, err := asof.Follow(ctx, m.js, asof.Options{})
	if err != nil {
		return err
	}
	var sequence atomic.Uint64
	passed := &newest{keep: keptNewest}
	follower.Observe(func(v *fleet.View, e eventlog.Event) {
		sequence.Store(v.Sequence)
		passed.add(&e)
	})
	told := newServers()
	var arrive sync.WaitGroup
	defer arrive.Wait()
	arrive.Go(func() { m.ask(ctx, told, m.questions()) })
	arrive.Go(func() {
		if follower.WaitFor(ctx, last) != nil {
			return
		}
		l := &live{logID: log.ID, sequence: &sequence, newest: passed, servers: told, follower: follower}
		follower.Do(func(v *fleet.View) {
			v.Drain()
			sequence.Store(v.Sequence) // that of a checkpoint, where no event came after it
			l.catalog = resource.NewCatalog(v, m.now())
		})
		m.mu.Lock()
		m.live = l
		close(m.came)
		m.mu.Unlock()
	})
	err = follower.Run(ctx)
	stop()
	if err == nil {
		err = errors.New("the reader of the event log ended")
	}
	return err
}

// lose gives up the view now: its log is not followed any more.
func (m *Moments) lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live != nil {
		m.live, m.came = nil, make(chan struct{})
	}
}

// present gives the view now, once it is there.
func (m *Moments) present(ctx context.Context) (*live, error) {
	for {
		m.mu.Lock()
		l, came := m.live, m.came
		m.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-came:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the fold of the log: %w", ctx.Err())
		}
	}
}

// Sequence is that of the last event that the view now has folded, and the log's id. It
// does not wait for a reader that has the view.
func (m *Moments) Sequence(ctx context.Context) (sequence uint64, logID string, err error) {
	l, err := m.present(ctx)
	if err != nil {
		return 0, "", err
	}
	return l.sequence.Load(), l.logID, nil
}

// Reading is how far the view now has folded the log; false until it is there.
func (m *Moments) Reading() (r lag.Reading, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == nil {
		return r, false
	}
	return lag.Reading{LogID: m.live.logID, Sequence: m.live.sequence.Load()}, true
}

// At gives the fleet at a moment to a function, which has it alone and must neither keep
// it nor wait.
//
// Errors: asof.ErrBeforeBeginning and asof.ErrBeyondEnd; those of reading the log, and of
// the context.
func (m *Moments) At(ctx context.Context, at Moment, fn func(Fleet)) error {
	h, err := m.Hold(ctx, at)
	if err != nil {
		return err
	}
	defer h.Release()
	h.Look(fn)
	return nil
}

// Both is At for two moments.
func (m *Moments) Both(ctx context.Context, a, b Moment, fn func(a, b Fleet)) error {
	leave, err := m.enter(ctx, a, b)
	if err != nil {
		return err
	}
	defer leave()
	x, err := m.hold(ctx, a)
	if err != nil {
		return err
	}
	defer x.Release()
	y, err := m.hold(ctx, b)
	if err != nil {
		return err
	}
	defer y.Release()
	switch order := x.key.compare(y.key); { // all take the locks in this order, so none waits for ever
	case order == 0:
		x.Look(func(f Fleet) { fn(f, f) })
	case order < 0:
		x.Look(func(f Fleet) { y.Look(func(g Fleet) { fn(f, g) }) })
	default:
		y.Look(func(g Fleet) { x.Look(func(f Fleet) { fn(f, g) }) })
	}
	return nil
}

// Held is a moment that stays until it is released. One of now goes on with the log.
type Held struct {
	key     key
	run     func(func(Fleet)) // has the view alone
	release func()
}

// Look gives the fleet to a function, which has it alone and must neither keep it nor wait.
func (h *Held) Look(fn func(Fleet)) { h.run(fn) }

// Release lets the moment go.
func (h *Held) Release() { h.release() }

// Hold is At for a reader that looks more than once, and does in between what takes time. A reader
// that holds a moment must not hold another one: that is what Both is for.
func (m *Moments) Hold(ctx context.Context, at Moment) (*Held, error) {
	leave, err := m.enter(ctx, at)
	if err != nil {
		return nil, err
	}
	h, err := m.hold(ctx, at)
	if err != nil {
		leave()
		return nil, err
	}
	release := h.release
	h.release = func() { release(); leave() }
	return h, nil
}

// enter waits until some moments may be held.
func (m *Moments) enter(ctx context.Context, all ...Moment) (leave func(), err error) {
	past := 0
	for _, at := range all {
		if !at.IsNow() {
			past++
		}
	}
	return m.past.enter(ctx, past)
}

func (m *Moments) hold(ctx context.Context, at Moment) (*Held, error) {
	if at.IsNow() {
		l, err := m.present(ctx)
		if err != nil {
			return nil, err
		}
		return &Held{key{logID: l.logID, sequence: math.MaxUint64}, func(fn func(Fleet)) { m.runLive(l, fn) }, func() {}}, nil
	}
	log, err := logstream.Inspect(ctx, m.js)
	if err != nil {
		return nil, err
	}
	sequence, err := asof.Sequence(ctx, m.js, at.Moment)
	if err != nil {
		return nil, err
	}
	k := key{logID: log.ID, sequence: sequence}
	if at.Sequence == 0 {
		k.clock = at.Time.UnixNano()
	}
	load := func(ctx context.Context) (*Fleet, error) { return m.known(ctx, log, at, sequence) }
	if at.Happened {
		k.known = max(log.Last, sequence)
		load = func(ctx context.Context) (*Fleet, error) { return m.happened(ctx, log, at, sequence) }
	}
	e, err := m.past.hold(ctx, k, m.now(), load)
	if err != nil {
		return nil, err
	}
	return &Held{e.key, func(fn func(Fleet)) {
		e.alone.Lock()
		defer e.alone.Unlock()
		fn(*e.value)
	}, func() { m.past.leave(e.key, e) }}, nil
}

// runLive runs a function with the view now.
func (m *Moments) runLive(l *live, fn func(Fleet)) {
	l.follower.Do(func(v *fleet.View) {
		l.catalog.Now = m.now()
		l.catalog.Changed(v.Drain())
		fn(Fleet{Catalog: l.catalog, LogID: l.logID, Now: true})
	})
}

// Events reads the events on some subjects up to a sequence.
func (m *Moments) Events(ctx context.Context, until uint64, subjects ...string) iter.Seq2[eventlog.Event, error] {
	if until == 0 {
		return func(func(eventlog.Event, error) bool) {}
	}
	return reader.Read(ctx, m.js, reader.Options{Subjects: subjects, Until: until, Direct: true})
}
