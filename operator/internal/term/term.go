package term

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/health"
	"fleet.nationtech.io/operator/internal/leader"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/fleet"
)

// Term is one term, from one election to the first thing that calls for another. Its
// fields are its state: what it found out, and what it still owes.
//
// Guarantees, in this order: nothing is appended to a log of another cluster; nothing
// is decided before the buckets are those of the log, nor before the state has passed
// this replica's own election, which fences what it appends; no device is told of a
// restored log before what follows from the cluster is decided.
type Term struct {
	*Leader

	cluster        string          // uid of this Kubernetes cluster
	log            logstream.Info  // as it was before the election
	reserveOpen    bool            // the log's reserve was opened
	reconciliation *reconciliation // owed to a restored log; nil: nothing
	rebuilt        []string        // buckets that this term rebuilt
	token          uint64          // the sequence of this replica's election; 0: not elected
}

// run leads until the term ends, and says why it did.
func (t *Term) run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	reconnected := t.NATS.StatusChanged(nats.CONNECTED)
	defer t.NATS.RemoveStatusListener(reconnected)
	go endOn(ctx, reconnected, func() { end(errReconnected) })

	for _, step := range []func(context.Context) error{
		t.findCluster,
		t.makeMissingLog,
		func(ctx context.Context) error { return t.awaitState(ctx, end) },
		t.checkOwner,
		t.takeLog,
		t.checkBuckets,
		t.checkOwner, // once more: to rebuild a bucket takes its time
		t.elect,
		t.decide,
	} {
		if err := step(ctx); err != nil {
			return cause(ctx, err)
		}
	}
	return cause(ctx, ctx.Err())
}

// findCluster asks which Kubernetes cluster this is.
func (t *Term) findCluster(ctx context.Context) (err error) {
	t.cluster, err = leader.ClusterUID(ctx, t.Kube)
	return err
}

// awaitState waits until this replica has folded the log that is there now. The term
// ends once that fold no longer holds.
func (t *Term) awaitState(ctx context.Context, end context.CancelCauseFunc) error {
	if err := t.State.Verify(ctx); err != nil {
		return err
	}
	lost, err := t.State.Await(ctx)
	if err != nil {
		return err
	}
	go endOn(ctx, lost, func() { end(errLogReplaced) })
	return nil
}

// takeLog gives the log, which is this cluster's, the configuration it should have.
func (t *Term) takeLog(ctx context.Context) (err error) {
	t.Metrics.mismatch.Set(0)
	if t.log, err = logstream.Ensure(ctx, t.JS, t.logConfig()); err != nil {
		return err
	}
	t.reserveOpen = t.log.MaxBytes > 0 && t.log.MaxBytes == t.LogMaxBytes
	t.reconciliation = pendingReconciliation(t.log)
	return nil
}

// checkBuckets makes the buckets those of the log.
func (t *Term) checkBuckets(ctx context.Context) (err error) {
	t.rebuilt, err = buckets.Ensure(ctx, t.JS, buckets.Config{Replicas: t.Replicas})
	return err
}

// decide decides and writes until the term ends.
func (t *Term) decide(ctx context.Context) error {
	t.Pulse.Listen()
	t.beginDecisions()
	t.Metrics.leader.Set(1)
	t.leads.Store(true)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	kept := health.NewBuckets(t.Buckets, t.log.ID, slices.Contains(t.rebuilt, eventlog.BucketDesired))
	actors := []func(onReady func()){
		func(onReady func()) { t.Deployments.Lead(ctx, onReady) },
		func(onReady func()) { t.Devices.Lead(ctx, onReady) },
		func(onReady func()) { t.Budgets.Lead(ctx, onReady) },
		func(onReady func()) { onReady(); kept.Run(ctx) },
		func(onReady func()) { onReady(); t.requestResyncs(ctx, kept.ResyncDue()) },
		func(onReady func()) { onReady(); t.Checkpointer.Run(ctx) },
		func(onReady func()) { onReady(); t.Sealer.Lead(ctx, t.token) },
		func(onReady func()) { onReady(); t.Gates.Run(ctx) },
		func(onReady func()) { onReady(); t.Traces.Lead(ctx, t.token) },
	}
	done := make(chan struct{}, len(actors))
	for _, actor := range actors {
		ready := make(chan struct{})
		go func() {
			actor(func() { close(ready) })
			done <- struct{}{}
		}()
		<-ready
	}
	err := t.Decider.Run(ctx, t.Appender, t, t.initialPass)
	end(err)
	for range actors {
		<-done
	}
	return err
}

// beginDecisions tells the state what this term must not judge yet: the devices, before
// it has listened to them for as long as they may be silent, and the rollouts of a
// restored log, before a person has looked.
func (t *Term) beginDecisions() {
	t.State.Do(func(s *decide.State) {
		s.Tick(t.Now())
		s.Listen(t.Pulse.Timeout())
		if t.reconciliation != nil {
			s.Restored(s.View().Sequence)
		}
	})
}

// initialPass asks about everything that the log and the API know: whatever a leader
// before left undone is found so.
func (t *Term) initialPass() {
	deployments, devices, budgets := map[fleet.Key]struct{}{}, map[string]struct{}{}, map[string]struct{}{}
	for _, k := range t.Deployments.Keys() {
		deployments[k] = struct{}{}
	}
	for _, id := range t.Devices.Names() {
		devices[id] = struct{}{}
	}
	for _, name := range t.Budgets.Names() {
		budgets[name] = struct{}{}
	}
	t.State.Do(func(s *decide.State) {
		for name := range s.View().Budgets {
			budgets[name] = struct{}{}
		}
		for k := range s.View().Deployments {
			deployments[k] = struct{}{}
		}
		for id := range s.View().Devices {
			devices[id] = struct{}{}
		}
	})
	for name := range budgets {
		t.Queue.AddBudget(name)
	}
	for k := range deployments {
		t.Queue.AddDeployment(k)
		t.Queue.AddProgress(k)
	}
	ids := make([]string, 0, len(devices))
	for id := range devices {
		ids = append(ids, id)
	}
	t.Queue.AddDevices(ids...)
	t.Queue.AddPresence(t.Pulse.Follow(t.State, ids)...)
	t.Devices.Changed(ids)
}

// cause is why the term ended, where that is known better than by the error
// that it caused.
func cause(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}

// endOn calls end when the channel gives something or closes.
func endOn[T any](ctx context.Context, ch <-chan T, end func()) {
	select {
	case <-ctx.Done():
	case <-ch:
		if ctx.Err() == nil {
			end()
		}
	}
}
