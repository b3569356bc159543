// Package statuswriter writes what changes a lot at most once a second: it
// remembers which keys are to be written, never what, so that the newest is written
// when a key's turn comes.
package statuswriter

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// Write writes the present status of a key. again asks for another turn
// though nothing else changes, after the given time; 0 for none.
type Write[K comparable] func(ctx context.Context, key K) (again time.Duration, err error)

// Writer calls Write for the keys that are marked.
//
// Guarantee: Write is called at most once an interval for a key, tries again
// after errors included, and after the last mark at least once.
type Writer[K comparable] struct {
	interval time.Duration
	workers  int
	write    Write[K]
	logger   *slog.Logger

	mu    sync.Mutex
	queue workqueue.TypedDelayingInterface[K] // nil while nobody runs
	last  map[K]time.Time                     // when Write was last called
	fails map[K]int
}

// New wires a writer with as many workers; a key is written by one at a time.
func New[K comparable](interval time.Duration, workers int, write Write[K], logger *slog.Logger) *Writer[K] {
	return &Writer[K]{interval: interval, workers: workers, write: write, logger: logger}
}

// Mark asks for a key to be written. While Run does not work it is forgotten:
// who runs marks all first.
func (w *Writer[K]) Mark(key K) { w.MarkAfter(key, 0) }

// MarkAfter asks for a key to be written after some time.
func (w *Writer[K]) MarkAfter(key K, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue == nil {
		return
	}
	w.queue.AddAfter(key, max(wait, w.interval-time.Since(w.last[key])))
}

// Run writes until the context ends. onReady is called once marks count.
func (w *Writer[K]) Run(ctx context.Context, onReady func()) {
	queue := workqueue.NewTypedDelayingQueue[K]()
	w.mu.Lock()
	w.queue, w.last, w.fails = queue, map[K]time.Time{}, map[K]int{}
	w.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		w.queue = nil
		w.mu.Unlock()
		queue.ShutDown()
	})
	defer stop()
	onReady()
	var workers sync.WaitGroup
	for range w.workers {
		workers.Go(func() { w.work(ctx, queue) })
	}
	workers.Go(func() { w.forget(ctx) })
	workers.Wait()
}

func (w *Writer[K]) work(ctx context.Context, queue workqueue.TypedDelayingInterface[K]) {
	for {
		key, down := queue.Get()
		if down {
			return
		}
		if early := w.early(key); early > 0 { // marked again while it was being written
			queue.AddAfter(key, early)
			queue.Done(key)
			continue
		}
		again, err := w.write(ctx, key)
		queue.Done(key)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			w.logger.Warn("cannot write status; will retry", "key", key, "error", err)
			w.MarkAfter(key, w.backoff(key))
		default:
			w.succeeded(key)
			if again > 0 {
				w.MarkAfter(key, again)
			}
		}
	}
}

// early is how long a key has to wait for its turn; 0 begins the turn.
func (w *Writer[K]) early(key K) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if rest := w.interval - now.Sub(w.last[key]); rest > 0 {
		return rest
	}
	w.last[key] = now
	return 0
}

func (w *Writer[K]) backoff(key K) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails[key]++
	return min(w.interval<<min(w.fails[key], 6), time.Minute)
}

func (w *Writer[K]) succeeded(key K) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.fails, key)
}

// forget keeps the memory of turns to those that still matter.
func (w *Writer[K]) forget(ctx context.Context) {
	tick := time.NewTicker(max(10*w.interval, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.mu.Lock()
			for k, at := range w.last {
				if now.Sub(at) > w.interval {
					delete(w.last, k)
				}
			}
			w.mu.Unlock()
		}
	}
}
