package syncsvc

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/internal/state"
)

// askPace is how often the log is asked at most, while what it says may not be
// passed on.
const askPace = 250 * time.Millisecond

// gate withholds what a restored log says of desired state until the leader has
// held it against the cluster: the archive may be older than what devices run,
// and they would go back to it for the moment until the leader has decided. Once
// it is open for a log it costs nothing.
type gate struct {
	log func(context.Context) (logstream.Info, error)

	mu    sync.Mutex
	id    string // of the log that the rest is about
	open  bool
	from  uint64 // what a fold must have passed, so that it knows what was decided
	asked time.Time
	under chan struct{} // closes when the question that is under way is answered; nil: none is
}

// check says why the device at a position may not be answered yet, or nil.
func (g *gate) check(ctx context.Context, p state.Position) error {
	if g.log == nil {
		return nil
	}
	if err := g.know(ctx, p.LogID); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.id != p.LogID:
		return &notYet{eventlog.SyncNotReady, "the event log was replaced; ask again"}
	case !g.open:
		return &notYet{eventlog.SyncRestored, "the event log was restored and the operator has not reconciled it with the cluster yet; ask again"}
	case p.Sequence < g.from:
		return &notYet{eventlog.SyncNotReady, "this replica has not yet read what was decided about the restored event log; ask again"}
	}
	return nil
}

// know asks the log about itself where that is due. One worker asks; the others wait
// for it a moment and then answer "ask again", so that a log that does not answer
// does not hold all of them up.
func (g *gate) know(ctx context.Context, id string) error {
	g.mu.Lock()
	if g.id != id {
		g.id, g.open, g.asked = id, false, time.Time{}
	}
	if g.open || time.Since(g.asked) < askPace {
		g.mu.Unlock()
		return nil
	}
	if under := g.under; under != nil {
		g.mu.Unlock()
		select {
		case <-under:
			return nil
		case <-time.After(askPace):
			return &notYet{eventlog.SyncNotReady, "this replica does not know yet whether the event log was restored; ask again"}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	under := make(chan struct{})
	g.under = under
	g.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	info, err := g.log(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under = nil
	close(under)
	if err != nil {
		return fmt.Errorf("find out whether the event log was restored: %w", err)
	}
	g.asked = time.Now()
	if info.ID == g.id && g.id == id && !info.Restored.Pending() {
		g.open, g.from = true, info.Restored.Reconciled
	}
	return nil
}
