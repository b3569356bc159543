// Package checkpointer has the leader save checkpoints of the folded event log, so
// that the next operator that starts reads little.
package checkpointer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/internal/lag"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/checkpoint"
)

const (
	// check is how often the checkpointer looks whether a checkpoint is due.
	check = time.Second
	// timeoutAtEnd is how long an operator that ends may take for its last one.
	timeoutAtEnd = 5 * time.Second
)

// Options wire a Checkpointer.
type Options struct {
	JS       jetstream.JetStream
	Replicas int // of the bucket of checkpoints
	Events   int // between two checkpoints, at least; not positive: none is saved
	// Sequence is that of the last event that this replica folded.
	Sequence func() uint64
	Metrics  *Metrics
	Now      func() time.Time
	Logger   *slog.Logger
}

// Checkpointer saves checkpoints while its replica leads.
//
// The fold that it saves is not the operator's own, which would have to stand still
// while it is encoded, the longer the larger the fleet. It is read again, from the
// checkpoint before: that costs what happened since, and memory for a second view as
// long as it takes.
type Checkpointer struct {
	options Options

	mu     sync.Mutex
	newest lag.Reading // the newest checkpoint; zero: not known
}

// New wires a checkpointer.
func New(o Options) *Checkpointer { return &Checkpointer{options: o} }

// Reading is how far the newest checkpoint goes, while the replica leads and knows it.
func (c *Checkpointer) Reading() (r lag.Reading, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest, c.newest.LogID != ""
}

func (c *Checkpointer) knows(r lag.Reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = r
}

// Run saves a checkpoint whenever one is due, one at a time, until the context ends.
// One that fails costs nothing: it is tried again when as many events have come once
// more.
func (c *Checkpointer) Run(ctx context.Context) {
	if c.options.Events <= 0 {
		return
	}
	defer c.knows(lag.Reading{}) // a replica that does not lead has no reading of the newest checkpoint
	events := uint64(c.options.Events)
	due := func(log logstream.Info, newest checkpoint.Entry) bool { return checkpoint.Due(log, newest, events) }
	tick := time.NewTicker(check)
	defer tick.Stop()
	var next uint64 // sequence at which to look again
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		at := c.options.Sequence()
		if at < next {
			continue
		}
		switch newest, ok := c.saveWhenDue(ctx, due); {
		case !ok:
			next = at + events
		case newest+events > at:
			next = newest + events
		default: // there are events enough, and the log has not grown enough
			next = at + 1 + events/10
		}
	}
}

// SaveAtEnd saves a last checkpoint of an operator that was told to end, if that is
// worth it. It does not heed the end of the context.
func (c *Checkpointer) SaveAtEnd(ctx context.Context) {
	if c.options.Events <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeoutAtEnd)
	defer cancel()
	c.saveWhenDue(ctx, checkpoint.DueAtEnd)
}

// saveWhenDue saves a checkpoint of the log as it is, if due says so. It gives the
// sequence of the newest one, or false where that failed.
func (c *Checkpointer) saveWhenDue(ctx context.Context, due func(logstream.Info, checkpoint.Entry) bool) (newest uint64, ok bool) {
	began := c.options.Now()
	at, saved, err := c.save(ctx, due)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return 0, false // the term ended, and its work with it
	case err != nil:
		c.options.Metrics.failed.Inc()
		c.options.Logger.Warn("cannot save a checkpoint; the next start takes longer", "error", err)
		return 0, false
	case saved:
		c.options.Metrics.saved.Inc()
		c.options.Logger.Info("saved a checkpoint", "sequence", at.Sequence, "bytes", at.Bytes, "took", c.options.Now().Sub(began))
	}
	c.options.Metrics.last.Set(float64(at.Sequence))
	return at.Sequence, true
}

// save gives the newest checkpoint there is then, and whether it was saved now.
func (c *Checkpointer) save(ctx context.Context, due func(logstream.Info, checkpoint.Entry) bool) (newest checkpoint.Entry, saved bool, err error) {
	log, err := logstream.Inspect(ctx, c.options.JS)
	if err != nil {
		return newest, false, err
	}
	defer func() {
		if err == nil {
			c.knows(lag.Reading{LogID: log.ID, Sequence: newest.Sequence})
		}
	}()
	store := checkpoint.Store{JS: c.options.JS, Replicas: c.options.Replicas}
	newest, err = store.Newest(ctx, log.ID, log.Last)
	if err != nil || !due(log, newest) {
		return newest, false, err
	}
	v, err := asof.AtSequence(ctx, c.options.JS, log, log.Last, asof.Options{})
	if err != nil {
		return newest, false, err
	}
	if newest, err = store.Save(ctx, log.ID, v); err != nil {
		return newest, false, err
	}
	if err := store.Prune(ctx, log.ID, log.Last); err != nil {
		c.options.Logger.Warn("cannot delete old checkpoints; will retry with the next", "error", err)
	}
	return newest, true, nil
}
