package syncsvc

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fleet.nationtech.io/eventlog"
)

// askPace is how often the log is asked at most, while what it says may not be
// passed on.
const askPace = 250 * time.Millisecond

// gate withholds what a restored log says of desired state until the leader has
// held it against the cluster: the archive may be older than what devices run,
// and they would go back to it for the moment until the leader has decided. Once
// it is open for a log it costs nothing.
type gate struct {
	log func(context.Context) (eventlog.LogInfo, error)

	mu    sync.Mutex
	id    string // of the log that the rest is about
	open  bool
	from  uint64 // what a fold must have passed, so that it knows what was decided
	asked time.Time
}

// check says why the device at a position may not be answered yet, or nil.
func (g *gate) check(ctx context.Context, p Position) error {
	if g.log == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.id != p.LogID {
		g.id, g.open, g.asked = p.LogID, false, time.Time{}
	}
	if !g.open && time.Since(g.asked) >= askPace {
		if err := g.ask(ctx); err != nil {
			return err
		}
	}
	switch {
	case !g.open:
		return &notYet{eventlog.SyncRestored, "the log was restored and the operator has not held it against the cluster yet; ask again"}
	case p.Sequence < g.from:
		return &notYet{eventlog.SyncNotReady, "this replica still reads what was decided about the restored log; ask again"}
	}
	return nil
}

func (g *gate) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	info, err := g.log(ctx)
	if err != nil {
		return fmt.Errorf("is the log restored: %w", err)
	}
	g.asked = time.Now()
	if info.ID == g.id && !info.Restored.Pending() {
		g.open, g.from = true, info.Restored.Reconciled
	}
	return nil
}
