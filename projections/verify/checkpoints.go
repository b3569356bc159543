package verify

import (
	"bytes"
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

// checkpoints are the saved folds of this log, by their sequences, which are
// compared while the log is folded: one at a time, as each may be large.
type checkpoints struct {
	store  checkpoint.Store
	logID  string
	places []checkpoint.Key // still to come
	report *Report
}

func newCheckpoints(ctx context.Context, js jetstream.JetStream, logID string, last uint64, r *Report) *checkpoints {
	c := &checkpoints{store: checkpoint.Store{JS: js}, logID: logID, report: r}
	places, err := c.store.List(ctx)
	if err != nil {
		r.addf(CheckpointUnusable, 0, "checkpoints cannot be listed: %v", err)
	}
	for _, p := range places {
		if p.LogID == logID && p.Fold == fleet.FoldVersion && p.Sequence > 0 && p.Sequence <= last {
			c.places = append(c.places, p)
		}
	}
	return c
}

// compare holds the view against a checkpoint of its sequence, if there is one.
func (c *checkpoints) compare(ctx context.Context, v *fleet.View) {
	for len(c.places) > 0 && c.places[0].Sequence <= v.Sequence {
		p := c.places[0]
		c.places = c.places[1:]
		if p.Sequence != v.Sequence {
			continue // the log has no such message: that is told already
		}
		c.one(ctx, p, v)
	}
}

func (c *checkpoints) one(ctx context.Context, p checkpoint.Key, v *fleet.View) {
	unusable := func(why error) {
		c.report.addf(CheckpointUnusable, p.Sequence, "checkpoint %s: %v", p.Name(), why)
	}
	var passed error
	c.store.Skipped = func(name string, why error) {
		if name == p.Name() {
			passed = why
		}
	}
	saved := c.store.Nearest(ctx, c.logID, p.Sequence)
	if saved == nil || saved.Sequence != p.Sequence {
		if passed == nil {
			passed = fmt.Errorf("it is gone") //nolint:err113 // told, and not asked for
		}
		unusable(passed)
		return
	}
	got, err := fleet.Encode(saved)
	if err != nil {
		unusable(err)
		return
	}
	want, err := fleet.Encode(v)
	if err != nil {
		unusable(err)
		return
	}
	c.report.Checkpoints++
	if !bytes.Equal(got, want) {
		c.report.addf(CheckpointDiffers, p.Sequence, "checkpoint %s is intact, and not what the log folds to; where all else agrees, delete it, and another is saved in time", p.Name())
	}
}
