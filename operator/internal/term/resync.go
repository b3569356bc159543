package term

import (
	"context"
	"maps"
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/buckets"
)

// requestResyncs tells devices to sync each time that desired-state was put in service
// again without telling them what is in it: at once, or once a restored log is
// reconciled. The bucket's metadata says that it is due until it is done, so that
// neither the end of a term nor a crash forgets it.
func (t *Term) requestResyncs(ctx context.Context, due <-chan string) {
	if t.reconciliation != nil {
		select {
		case <-t.reconciliation.done:
		case <-ctx.Done():
			return
		}
		after, _ := buckets.ResyncDue(ctx, t.JS) // all are told, also where the bucket does not say that it is due
		t.requestResync(ctx, after)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case after := <-due:
			if now, err := buckets.ResyncDue(ctx, t.JS); err == nil && now == after {
				t.requestResync(ctx, after)
			}
		}
	}
}

// requestResync tells every device to sync, and records that after the rebuild that
// made it due.
func (t *Term) requestResync(ctx context.Context, after string) {
	ids := t.allDevices()
	t.Logger.Info("telling devices to sync", "devices", len(ids))
	if err := buckets.RequestResync(ctx, t.NATS, ids); err != nil {
		if ctx.Err() == nil {
			t.Logger.Warn("not all devices were told to sync; will retry", "error", err)
		}
		return
	}
	if after == "" {
		return
	}
	if err := buckets.ResyncRequested(ctx, t.JS, after); err != nil && ctx.Err() == nil {
		t.Logger.Warn("cannot record that devices were told to sync; they are told again", "error", err)
	}
}

// allDevices are those of the API, since a log that was lost does not know them yet,
// and those of the log.
func (t *Term) allDevices() []string {
	known := map[string]struct{}{}
	for _, id := range t.Devices.Names() {
		known[id] = struct{}{}
	}
	t.State.Do(func(s *decide.State) {
		for id := range s.View().Devices {
			if eventlog.CheckName("device", id) == nil {
				known[id] = struct{}{}
			}
		}
	})
	return slices.Collect(maps.Keys(known))
}
