package state

import (
	"context"
	"maps"
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/checkpoint"
)

// begin goes on from the nearest checkpoint where nothing is folded yet. The observer,
// which is not told of the events that it skips, is told of everything.
func (f *Fold) begin(ctx context.Context, log logstream.Info, observer Observer) {
	var at uint64
	f.Do(func(s *decide.State) { at = s.View().Sequence })
	if at > 0 || f.options.NoCheckpoints {
		return
	}
	store := checkpoint.Store{JS: f.js, Skipped: func(name string, why error) {
		f.logger.Warn("skipping an unusable checkpoint; the start takes longer", "checkpoint", name, "error", why)
	}}
	v := store.Nearest(ctx, log.ID, log.Last)
	if v == nil {
		return
	}
	at = v.Sequence
	deployments, devices := slices.Collect(maps.Keys(v.Deployments)), slices.Collect(maps.Keys(v.Devices))
	f.mu.Lock()
	f.follower.Begin(v)
	f.follower.Do(f.state.SetView)
	if f.options.Witness != nil {
		f.follower.Do(f.options.Witness.Begun)
	}
	f.mu.Unlock()
	f.logger.Info("folding the event log from a checkpoint", "sequence", at, "log", log.ID)
	observer.Changed(deployments, devices)
}

// check makes sure that the log is the one whose events were folded: the guard
// of a reader begins only with its first event.
func (f *Fold) check(ctx context.Context) (logstream.Info, error) {
	var id string
	var at eventlog.Position
	f.Do(func(s *decide.State) {
		id, at = f.logID, s.View().Position()
	})
	return reader.Confirm(ctx, f.js, id, at)
}
