package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/client-go/tools/cache"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/internal/leader"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/fleet"
)

const (
	// termPause is how long a term that failed is left alone.
	termPause = time.Second
	// termBreath keeps a server that refuses at once from being asked without end.
	termBreath = 50 * time.Millisecond
	// mismatchCheck is how often it is looked whether the log still belongs to
	// another cluster.
	mismatchCheck = 5 * time.Second
)

// Why a term ended though the Lease is still held. The next one begins at once.
var (
	errReconnected = errors.New("the connection to NATS was lost and is back: the buckets are checked and the election is renewed")
	errLogWentBack = errors.New("the log went back: it is folded anew")
	errAdopted     = errors.New("the log belongs to this cluster now")
)

// lead holds one term after another while the Lease is held.
func (r *replica) lead(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), r.synced) {
		return nil
	}
	defer r.standDown()
	for {
		err := r.term(ctx)
		r.metrics.leading(false)
		r.leads.Store(false)
		r.appender.Resign()
		switch {
		case ctx.Err() != nil:
			return nil // the Lease is lost, or the replica ends
		case errors.Is(err, appender.ErrDeposed):
			return err // another holds the log: step down, and stand again
		case errors.Is(err, errReconnected), errors.Is(err, errLogWentBack), errors.Is(err, errAdopted), errors.Is(err, appender.ErrUncertain):
			r.options.Logger.Info("a new term begins", "reason", err)
			pause(ctx, termBreath)
		default:
			r.options.Logger.Warn("the term failed; will be tried again", "error", err)
			pause(ctx, termPause)
		}
	}
}

// standDown takes back what only a leader says: whoever leads now says it, and
// nobody would take it back here.
func (r *replica) standDown() {
	r.metrics.mismatched(false)
	r.room, r.reserveOpen = roomEnough, false
	r.metrics.full.Set(0)
	r.metrics.reserve.Set(0)
	r.deployments.SetLog("", "")
}

// term leads from one election to the first thing that calls for another.
//
// Guarantees, in this order: nothing is appended to a log of another cluster;
// nothing is decided before the buckets are those of the log, nor before the
// fold has passed this replica's own election, which fences what it appends; no
// device is told of a restored log before what follows from the cluster is decided.
func (r *replica) term(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	reconnected := r.nc.StatusChanged(nats.CONNECTED)
	defer r.nc.RemoveStatusListener(reconnected)
	go endOn(ctx, reconnected, func() { end(errReconnected) })

	uid, err := leader.ClusterUID(ctx, r.kube)
	if err != nil {
		return cause(ctx, err)
	}
	if err := r.ensureLog(ctx); err != nil {
		return cause(ctx, err)
	}
	if err := r.fold.Verify(ctx); err != nil {
		return cause(ctx, err)
	}
	lost, err := r.fold.Await(ctx)
	if err != nil {
		return cause(ctx, err)
	}
	go endOn(ctx, lost, func() { end(errLogWentBack) })
	if other, err := r.owner(ctx, uid); err != nil {
		return cause(ctx, err)
	} else if other != "" {
		return r.refuse(ctx, other, uid)
	}
	r.metrics.mismatched(false)
	info, err := logstream.Ensure(ctx, r.js, r.logConfig())
	if err != nil {
		return cause(ctx, err)
	}
	r.reserveOpen = info.MaxBytes > 0 && info.MaxBytes == r.options.LogMaxBytes
	r.owed = owed(info)
	rebuilt, err := buckets.Ensure(ctx, r.js, buckets.Config{Replicas: r.options.Replicas})
	if err != nil {
		return cause(ctx, err)
	}
	// Rebuilding takes its time: whose the log is, is asked once more.
	if other, err := r.owner(ctx, uid); err != nil {
		return cause(ctx, err)
	} else if other != "" {
		return r.refuse(ctx, other, uid)
	}
	token, err := r.elect(ctx, eventlog.Leader{Identity: r.options.Identity, ClusterUID: uid, Version: version.Version})
	if err != nil {
		return cause(ctx, err)
	}
	if err := r.fold.WaitFor(ctx, token); err != nil {
		return cause(ctx, err)
	}
	r.options.Logger.Info("elected", "identity", r.options.Identity, "token", token, "rebuilt", rebuilt)
	r.monitor.Listen()
	r.metrics.leading(true)
	r.leads.Store(true)
	r.led = true
	return cause(ctx, r.work(ctx, r.newBucketKeeper(info.ID, rebuilt), token))
}

// ensureLog makes the log where there is none at all. One that is there is left
// alone until it is known whose it is.
func (r *replica) ensureLog(ctx context.Context) error {
	_, err := logstream.Inspect(ctx, r.js)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	_, err = logstream.Ensure(ctx, r.js, r.logConfig())
	return err
}

// owner is otherCluster as of the log's last election, which a fold that read on
// after the connection was lost may not have passed yet.
func (r *replica) owner(ctx context.Context, uid string) (string, error) {
	last, err := reader.LastSequence(ctx, r.js, eventlog.LogStream, eventlog.LeaderSubject)
	if err != nil {
		return "", fmt.Errorf("whose log it is: %w", err)
	}
	if err := r.fold.WaitFor(ctx, last); err != nil {
		return "", err
	}
	return r.otherCluster(uid), nil
}

// otherCluster is the uid of the cluster that the log belongs to, where that is
// another and may not be taken over.
func (r *replica) otherCluster(uid string) string {
	var owner string
	r.fold.Do(func(s *decide.State) { owner = s.View().Leader.ClusterUID })
	if owner == uid || r.options.AdoptCluster {
		return ""
	}
	return owner
}

// refuse says why nothing is done here, in every place where somebody would
// look, until the log belongs to this cluster or the term ends.
func (r *replica) refuse(ctx context.Context, owner, uid string) error {
	why := fmt.Sprintf("the event log belongs to the cluster with uid %s, this is %s: nothing is decided here. "+
		"If this cluster takes the other's place, start the operator with --adopt-cluster; else point it at its own NATS", owner, uid)
	r.metrics.mismatched(true)
	r.options.Logger.Error("cluster mismatch: nothing is decided", "log", owner, "cluster", uid, "reason", status.ReasonClusterMismatch)
	r.events.Warn(status.ReasonClusterMismatch, "Refuse", why, nil)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		for ctx.Err() == nil {
			if r.otherCluster(uid) == "" {
				end(errAdopted)
			}
			pause(ctx, mismatchCheck)
		}
	}()
	r.deployments.Mismatch(ctx, why)
	return cause(ctx, ctx.Err())
}

// work decides and writes until the term ends.
func (r *replica) work(ctx context.Context, buckets *bucketKeeper, token uint64) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	parts := []func(begun func()){
		func(begun func()) { r.deployments.Lead(ctx, begun) },
		func(begun func()) { r.devices.Lead(ctx, begun) },
		func(begun func()) { begun(); buckets.run(ctx) },
		func(begun func()) { begun(); r.tellWhoMissedIt(ctx, buckets.due) },
		func(begun func()) { begun(); r.keepCheckpoints(ctx) },
		func(begun func()) { begun(); r.sealer.Lead(ctx, token) },
	}
	done := make(chan struct{}, len(parts))
	for _, part := range parts {
		ready := make(chan struct{})
		go func() {
			part(func() { close(ready) })
			done <- struct{}{}
		}()
		<-ready
	}
	err := r.brain.Run(ctx, r.appender, r.lookAtAll)
	end(err)
	for range parts {
		<-done
	}
	return err
}

// lookAtAll asks about everything that the log and the API know: whatever was
// left undone, by whomever, is found so.
func (r *replica) lookAtAll() {
	deployments, devices := map[fleet.Key]struct{}{}, map[string]struct{}{}
	for _, k := range r.deployments.Keys() {
		deployments[k] = struct{}{}
	}
	for _, id := range r.devices.Names() {
		devices[id] = struct{}{}
	}
	r.fold.Do(func(s *decide.State) {
		for k := range s.View().Deployments {
			deployments[k] = struct{}{}
		}
		for id := range s.View().Devices {
			devices[id] = struct{}{}
		}
	})
	for k := range deployments {
		r.brain.Add(decider.Input{Input: decide.OfDeployment(k)}, decider.Input{Input: decide.OfProgress(k)})
	}
	ids := make([]string, 0, len(devices))
	for id := range devices {
		ids = append(ids, id)
		r.brain.Add(decider.Input{Input: decide.OfDevice(id)})
	}
	r.turned(r.watch(ids))
	r.devices.Changed(ids)
}

// tellWhoMissedIt tells devices to sync each time that desired-state was put in
// service again without telling anybody what is in it: at once, or for a restored
// log when it may be told. The bucket's metadata says that it is due until it is
// done, so that neither the end of a term nor a crash forgets it.
func (r *replica) tellWhoMissedIt(ctx context.Context, due <-chan string) {
	if r.owed != nil {
		select {
		case <-r.owed.done:
		case <-ctx.Done():
			return
		}
		after, _ := buckets.ResyncDue(ctx, r.js) // all are told, also where the bucket does not say that it is due
		r.tellAndRecord(ctx, after)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case after := <-due:
			if now, err := buckets.ResyncDue(ctx, r.js); err == nil && now == after {
				r.tellAndRecord(ctx, after)
			}
		}
	}
}

// tellAndRecord tells devices to sync, and records that after the rebuild that made
// it due.
func (r *replica) tellAndRecord(ctx context.Context, after string) {
	if r.tellToSync(ctx) != nil || after == "" {
		return
	}
	if err := buckets.ResyncRequested(ctx, r.js, after); err != nil && ctx.Err() == nil {
		r.options.Logger.Warn("it could not be recorded that devices were told to sync; they are told again", "error", err)
	}
}

// tellToSync asks every device to ask for its desired state.
func (r *replica) tellToSync(ctx context.Context) error {
	known := map[string]struct{}{}
	for _, id := range r.devices.Names() { // a log that was lost does not know them yet
		known[id] = struct{}{}
	}
	r.fold.Do(func(s *decide.State) {
		for id := range s.View().Devices {
			if eventlog.CheckName("device", id) == nil {
				known[id] = struct{}{}
			}
		}
	})
	ids := slices.Collect(maps.Keys(known))
	r.options.Logger.Info("devices are told to sync", "devices", len(ids))
	err := buckets.RequestResync(ctx, r.nc, ids)
	if err != nil && ctx.Err() == nil {
		r.options.Logger.Warn("not all devices were told to sync; they are told again", "error", err)
	}
	return err
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

// endOn calls end when the channel says something or closes.
func endOn[T any](ctx context.Context, ch <-chan T, end func()) {
	select {
	case <-ctx.Done():
	case <-ch:
		if ctx.Err() == nil {
			end()
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
