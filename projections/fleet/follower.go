package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"fleet.nationtech.io/eventlog"
)

// Source yields the log's events after the one that was folded last, for ever; a
// foreign message comes as an event with an error that wraps eventlog.ErrForeign,
// any other error ends it, as one that the log no longer holds what was folded.
type Source func(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Event, error]

// Follower keeps one View up to date with the log and shares it.
type Follower struct {
	source Source
	folded func(*View, eventlog.Event) // nil: nobody is told

	mu      sync.Mutex
	view    *View
	waiters []waiter
	changed chan struct{}
}

type waiter struct {
	sequence uint64
	reached  chan struct{}
}

// NewFollower wires a follower of an empty view; Run folds.
func NewFollower(source Source) *Follower { return Resume(New(), source) }

// Resume wires a follower that goes on from a view, which is the follower's from
// then on; Run folds.
func Resume(v *View, source Source) *Follower {
	v.Track()
	return &Follower{source: source, view: v, changed: make(chan struct{}, 1)}
}

// Begin puts a view in the place of the one that the follower has, and is its
// owner from then on. Not while Run folds.
func (f *Follower) Begin(v *View) {
	v.Track()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.view = v
	f.waiters = release(f.waiters, v.Sequence)
}

// Observe lets fn be told of each event once it is folded. It runs while nobody else has
// the view: it must neither keep that nor wait. Not while Run folds.
func (f *Follower) Observe(fn func(*View, eventlog.Event)) { f.folded = fn }

// Run folds until the context ends (and then returns nil) or the source fails.
func (f *Follower) Run(ctx context.Context) error {
	var after eventlog.Position
	f.Do(func(v *View) { after = v.Position() })
	for e, err := range f.source(ctx, after) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("follow the log: %w", err)
		}
		f.mu.Lock()
		Apply(f.view, e, err)
		if f.folded != nil {
			f.folded(f.view, e)
		}
		if len(f.waiters) > 0 {
			f.waiters = release(f.waiters, f.view.Sequence)
		}
		f.mu.Unlock()
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

// Do runs fn with the view, alone. fn must neither keep the view nor wait.
func (f *Follower) Do(fn func(*View)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(f.view)
}

// Changed has a value whenever something was folded since it was last read.
func (f *Follower) Changed() <-chan struct{} { return f.changed }

// WaitFor returns once the view has folded sequence, or with the context's error.
func (f *Follower) WaitFor(ctx context.Context, sequence uint64) error {
	f.mu.Lock()
	if f.view.Sequence >= sequence {
		f.mu.Unlock()
		return nil
	}
	w := waiter{sequence: sequence, reached: make(chan struct{})}
	f.waiters = append(f.waiters, w)
	f.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		f.waiters = slices.DeleteFunc(f.waiters, func(o waiter) bool { return o.reached == w.reached })
		at := f.view.Sequence
		f.mu.Unlock()
		return fmt.Errorf("wait for sequence %d of the log, folded to %d: %w", sequence, at, ctx.Err())
	}
}

func release(ws []waiter, at uint64) []waiter {
	return slices.DeleteFunc(ws, func(w waiter) bool {
		if w.sequence > at {
			return false
		}
		close(w.reached)
		return true
	})
}
