package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/buckets"
)

// ReasonBucketRepaired is the reason of the Event that says that a bucket was not
// in service, and that the operator put it in service again.
const ReasonBucketRepaired = "BucketRepaired"

const (
	// bucketCheck is how often an operator that leads looks whether the buckets are
	// in service. It costs one request a bucket.
	bucketCheck = 2 * time.Second
	// bucketRetry is how long a bucket that could not be put in service is left alone.
	bucketRetry = 10 * time.Second
	// syncGrace is how long whoever rebuilt desired-state has to tell devices to sync
	// before the operator does it.
	syncGrace = 5 * time.Second
)

// bucketKeeper keeps the buckets in service during a term. Whatever cut a rebuild
// short, and whoever did it, the bucket's own metadata says so.
type bucketKeeper struct {
	r       *replica
	logID   string
	due     chan string // after which rebuild devices must be told to sync
	buckets map[string]*keptBucket

	// Of desired-state alone:
	after string    // the rebuild after which devices were not told yet
	since time.Time // when that was seen first
}

// keptBucket is what the goroutine that keeps one bucket knows of it.
type keptBucket struct {
	busy    sync.Mutex // held while the bucket is worked on, by stallWatch too
	missing bool       // at the look before
	retry   time.Time  // not before
}

func (r *replica) newBucketKeeper(logID string, rebuilt []string) *bucketKeeper {
	k := &bucketKeeper{r: r, logID: logID, due: make(chan string, 1), buckets: map[string]*keptBucket{}}
	for _, b := range eventlog.Buckets() {
		k.buckets[b] = &keptBucket{}
	}
	if slices.Contains(rebuilt, eventlog.BucketDesired) {
		k.since = time.Now().Add(-syncGrace) // the term itself rebuilt it: nobody else tells devices
	}
	return k
}

// run keeps each bucket by itself, until the context ends: the rebuild of one may
// take minutes.
func (k *bucketKeeper) run(ctx context.Context) {
	defer k.r.metrics.outOfService.Reset()
	defer k.r.metrics.stalled.Reset()
	var keepers sync.WaitGroup
	defer keepers.Wait()
	for name, bucket := range k.buckets {
		w := &stallWatch{r: k.r, logID: k.logID, bucket: name, busy: &bucket.busy}
		keepers.Go(func() { k.keep(ctx, name, bucket) })
		keepers.Go(func() { w.run(ctx) })
	}
}

func (k *bucketKeeper) keep(ctx context.Context, name string, bucket *keptBucket) {
	tick := time.NewTicker(bucketCheck)
	defer tick.Stop()
	for {
		if !time.Now().Before(bucket.retry) && bucket.busy.TryLock() {
			err := k.look(ctx, name, bucket)
			bucket.busy.Unlock()
			if err != nil && ctx.Err() == nil {
				k.r.options.Logger.Warn("a bucket is not known to be in service; will be looked at again", "bucket", name, "error", err)
				bucket.retry = time.Now().Add(bucketRetry)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look puts a bucket in service that is not.
func (k *bucketKeeper) look(ctx context.Context, bucket string, kept *keptBucket) error {
	config := k.r.bucketConfig()
	is, err := buckets.Inspect(ctx, k.r.js, config, bucket, k.logID)
	if err != nil {
		return err
	}
	k.r.metrics.outOfService.WithLabelValues(bucket).Set(number(is.Finding != buckets.Sound))
	if is.Finding == buckets.Halted {
		return nil // see stallWatch
	}
	first := is.Finding == buckets.Missing && !kept.missing
	kept.missing = is.Finding == buckets.Missing
	switch {
	case is.Finding == buckets.Sound:
		k.syncDue(bucket, is.SyncDue)
		return nil
	case first:
		return nil // whoever rebuilds a bucket deletes it and makes it again
	}
	if log, err := logstream.Inspect(ctx, k.r.js); err != nil || log.ID != k.logID {
		return err // of another log: the fold notices, and the term ends
	}
	began := time.Now()
	_, err = buckets.Mend(ctx, k.r.js, config, bucket)
	if errors.Is(err, buckets.ErrUnderWay) {
		return nil // and goes on: it is looked at again
	}
	if err != nil {
		return err
	}
	now, err := buckets.Inspect(ctx, k.r.js, config, bucket, k.logID)
	if err == nil && now.Finding != buckets.Sound {
		err = fmt.Errorf("bucket %s is %s after it was repaired, as before it was %s", bucket, now.Finding, is.Finding)
	}
	if err != nil {
		return err
	}
	k.r.metrics.repairs.WithLabelValues(bucket).Inc()
	k.r.metrics.outOfService.WithLabelValues(bucket).Set(0)
	k.r.options.Logger.Warn("a bucket was not in service; the operator put it in service again", "reason", ReasonBucketRepaired,
		"bucket", bucket, "found", is.Finding, "took", time.Since(began))
	k.r.events.Warn(ReasonBucketRepaired, "Rebuild", fmt.Sprintf("Bucket %s was not in service: %s. The operator put it in service again.%s",
		bucket, foundOut(is.Finding), alsoSync(bucket)), nil)
	if bucket == eventlog.BucketDesired {
		k.after, k.since = "", time.Now().Add(-syncGrace)
		k.syncDue(bucket, now.SyncDue)
	}
	return nil
}

func foundOut(f buckets.Finding) string {
	switch f {
	case buckets.Missing:
		return "its stream is missing"
	case buckets.Unfinished:
		return "a rebuild of it was cut short"
	case buckets.OtherLog:
		return "it was made from another event log"
	default:
		return "the configuration of its stream was changed"
	}
}

func alsoSync(bucket string) string {
	if bucket != eventlog.BucketDesired {
		return ""
	}
	return " Devices are told to sync."
}

// syncDue has devices told to sync where that is due after a rebuild. Whoever did
// the rebuild is given some seconds to do it.
func (k *bucketKeeper) syncDue(bucket, after string) {
	if bucket != eventlog.BucketDesired || after == "" {
		return
	}
	if k.after != after {
		if k.after != "" || k.since.IsZero() {
			k.since = time.Now()
		}
		k.after = after
	}
	if time.Since(k.since) < syncGrace {
		return
	}
	select {
	case k.due <- after:
	default: // devices are being told
	}
}
