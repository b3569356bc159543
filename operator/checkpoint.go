package operator

import (
	"context"
	"errors"
	"time"

	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/checkpoint"
)

const (
	// checkpointLook is how often it is looked whether a checkpoint is due.
	checkpointLook = time.Second
	// checkpointAtEnd is how long an operator that ends may take for its last one.
	checkpointAtEnd = 5 * time.Second
)

// Results of saving a checkpoint.
const (
	checkpointSaved  = "saved"
	checkpointFailed = "failed"
)

// stand works for the Lease until the context ends, and leads while it has it.
// A leader that was told to end saves a checkpoint, so that whoever starts next
// reads little; by then it has given up the Lease, and nobody waits for it.
func (r *replica) stand(ctx context.Context) error {
	err := r.candidate.Run(ctx, func(leading context.Context) error {
		err := r.lead(leading)
		r.led = r.led && ctx.Err() != nil // else the Lease was lost, and another leads
		return err
	})
	if r.led && r.options.CheckpointEvents > 0 && r.nc.IsConnected() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkpointAtEnd)
		defer cancel()
		r.saveWhenDue(ctx, checkpoint.DueAtEnd)
	}
	return err
}

// keepCheckpoints saves a checkpoint whenever one is due, one at a time, until
// the term ends. One that fails costs nothing: it is tried again when as many
// events have come once more.
//
// The fold that is saved is not the operator's own, which would have to stand
// still while it is encoded, the longer the larger the fleet. It is read again,
// from the checkpoint before: that costs what happened since, and memory for a
// second view as long as it takes.
func (r *replica) keepCheckpoints(ctx context.Context) {
	if r.options.CheckpointEvents <= 0 {
		return
	}
	events := uint64(r.options.CheckpointEvents)
	due := func(log logstream.Info, newest checkpoint.Entry) bool { return checkpoint.Due(log, newest, events) }
	tick := time.NewTicker(checkpointLook)
	defer tick.Stop()
	var next uint64 // sequence at which to look again
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		at := r.fold.Sequence()
		if at < next {
			continue
		}
		switch newest, ok := r.saveWhenDue(ctx, due); {
		case !ok:
			next = at + events
		case newest+events > at:
			next = newest + events
		default: // there are events enough, and the log has not grown enough
			next = at + 1 + events/10
		}
	}
}

// saveWhenDue saves a checkpoint of the log as it is, if due says so. It gives
// the sequence of the newest one, or false where that failed.
func (r *replica) saveWhenDue(ctx context.Context, due func(logstream.Info, checkpoint.Entry) bool) (newest uint64, ok bool) {
	begun := r.options.Now()
	kept, saved, err := r.saveCheckpoint(ctx, due)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return 0, false // the term ended, and its work with it
	case err != nil:
		r.metrics.checkpoints.WithLabelValues(checkpointFailed).Inc()
		r.options.Logger.Warn("no checkpoint was saved; the next start takes longer", "error", err)
		return 0, false
	case saved:
		r.metrics.checkpoints.WithLabelValues(checkpointSaved).Inc()
		r.options.Logger.Info("a checkpoint was saved", "sequence", kept.Sequence, "bytes", kept.Bytes, "took", r.options.Now().Sub(begun))
	}
	r.metrics.lastCheckpoint.Set(float64(kept.Sequence))
	return kept.Sequence, true
}

// saveCheckpoint gives the newest checkpoint there is then, and whether it was
// saved now.
func (r *replica) saveCheckpoint(ctx context.Context, due func(logstream.Info, checkpoint.Entry) bool) (newest checkpoint.Entry, saved bool, err error) {
	log, err := logstream.Inspect(ctx, r.js)
	if err != nil {
		return newest, false, err
	}
	store := checkpoint.Store{JS: r.js, Replicas: r.options.Replicas}
	newest, err = store.Newest(ctx, log.ID, log.Last)
	if err != nil || !due(log, newest) {
		return newest, false, err
	}
	v, err := asof.AtSequence(ctx, r.js, log, log.Last, asof.Options{})
	if err != nil {
		return newest, false, err
	}
	if newest, err = store.Save(ctx, log.ID, v); err != nil {
		return newest, false, err
	}
	if err := store.Prune(ctx, log.ID, log.Last); err != nil {
		r.options.Logger.Warn("old checkpoints were not dropped; will be tried again with the next", "error", err)
	}
	return newest, true, nil
}
