package fold

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/checkpoint"
)

// begin goes on from the nearest checkpoint where nothing is folded yet. Whoever
// would have been told of what the skipped events changed is told of everything.
func (f *Fold) begin(ctx context.Context, log eventlog.LogInfo) {
	var at uint64
	f.Do(func(s *decide.State) { at = s.View().Sequence })
	if at > 0 || f.options.NoCheckpoints {
		return
	}
	store := checkpoint.Store{JS: f.js, PassedOver: func(name string, why error) {
		f.logger.Warn("a checkpoint is passed over; the fold takes longer", "checkpoint", name, "error", why)
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
	f.mu.Unlock()
	f.logger.Info("the fold begins from a checkpoint", "sequence", at, "log", log.ID)
	f.options.Changed(deployments, devices)
}

// check makes sure that the log is the one whose events were folded: the guard
// of a reader begins only with its first event.
func (f *Fold) check(ctx context.Context) (eventlog.LogInfo, error) {
	info, err := eventlog.Log(ctx, f.js)
	if err != nil {
		return info, err
	}
	var id string
	var at uint64
	var recorded time.Time
	f.Do(func(s *decide.State) {
		id, at, recorded = f.logID, s.View().Sequence, s.View().Recorded
	})
	switch {
	case id != "" && id != info.ID:
		return info, fmt.Errorf("%w: it is another log", eventlog.ErrLogReset)
	case at == 0:
		return info, nil
	case at > info.Last:
		return info, fmt.Errorf("%w: it ends at sequence %d, after %d had been read", eventlog.ErrLogReset, info.Last, at)
	}
	m, err := eventlog.MessageAt(ctx, f.js, eventlog.LogStream, at)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return info, fmt.Errorf("%w: sequence %d is gone", eventlog.ErrLogReset, at)
	}
	if err != nil {
		return info, err
	}
	if !m.Time.Equal(recorded) {
		return info, fmt.Errorf("%w: sequence %d is another message", eventlog.ErrLogReset, at)
	}
	return info, nil
}
