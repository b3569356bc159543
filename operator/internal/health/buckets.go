// Package health watches the event log and its buckets, and puts buckets right that
// the NATS server does not continue.
package health

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/buckets"
)

const (
	// bucketCheck is how often an operator that leads looks at each bucket. It costs
	// one request a bucket.
	bucketCheck = 2 * time.Second
	// stallEvery is how many of these looks there are to one at whether the bucket
	// stalls.
	stallEvery = 2
	// bucketRetry is how long a bucket that could not be put in service is left alone.
	bucketRetry = 10 * time.Second
)

// Events writes a Kubernetes Event in the operator's namespace.
type Events interface {
	Warn(reason, action, note string, related *corev1.ObjectReference)
}

// Options wire Buckets.
type Options struct {
	JS       jetstream.JetStream
	Replicas int // of each bucket
	Events   Events
	Metrics  *Metrics
	Logger   *slog.Logger
}

// Buckets keeps the buckets in service during a term. The bucket's own
// metadata says when a rebuild was cut short, whatever cut it.
type Buckets struct {
	Options
	logID  string
	config buckets.Config
	resync *resyncDue
}

// NewBuckets wires the buckets of a log for a term. rebuilt says that the term itself
// rebuilt desired-state, so that nobody else tells devices to sync.
func NewBuckets(o Options, logID string, rebuilt bool) *Buckets {
	return &Buckets{
		Options: o, logID: logID,
		config: buckets.Config{Replicas: o.Replicas, StallTimeout: stallTimeoutAgain},
		resync: newResyncDue(rebuilt),
	}
}

// ResyncDue gives, each time that devices must be told to sync, after which rebuild of
// desired-state that is.
func (b *Buckets) ResyncDue() <-chan string { return b.resync.due }

// Run looks after each bucket by itself until the context ends: the rebuild of one may
// take minutes.
func (b *Buckets) Run(ctx context.Context) {
	defer b.Metrics.outOfService.Reset()
	defer b.Metrics.stalled.Reset()
	defer b.Metrics.lags.reset()
	var all sync.WaitGroup
	defer all.Wait()
	for _, name := range eventlog.Buckets() {
		one := &bucket{Buckets: b, name: name}
		all.Go(func() { one.run(ctx) })
	}
}

// bucket is what the goroutine that looks after one bucket knows of it.
type bucket struct {
	*Buckets
	name    string
	missing bool      // at the look before
	retry   time.Time // when it is looked at again after a failure
	stall   stall
}

func (b *bucket) run(ctx context.Context) {
	tick := time.NewTicker(bucketCheck)
	defer tick.Stop()
	for n := 0; ; n++ {
		if !time.Now().Before(b.retry) {
			if err := b.look(ctx, n > 0 && n%stallEvery == 0); err != nil && ctx.Err() == nil {
				b.Logger.Warn("cannot tell whether a bucket is in service; will retry", "bucket", b.name, "error", err)
				b.retry = time.Now().Add(bucketRetry)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look asks the server about the bucket once, and puts right what is wrong. stalls
// says that this look is also one at whether the bucket stalls.
func (b *bucket) look(ctx context.Context, stalls bool) error {
	stalls = stalls && !time.Now().Before(b.stall.retry)
	is, err := buckets.Inspect(ctx, b.JS, b.config, b.name, b.logID)
	if err != nil {
		return err
	}
	b.Metrics.outOfService.WithLabelValues(b.name).Set(number(is.Finding != buckets.Sound))
	switch {
	case is.Finding == buckets.Halted:
		if stalls {
			b.note(ctx, b.revive(ctx))
		}
		return nil
	case is.Finding != buckets.Sound:
		b.stall.halted, b.stall.progress = time.Time{}, progress{}
		return b.putInService(ctx, is)
	}
	b.missing, b.stall.halted = false, time.Time{}
	if b.name == eventlog.BucketDesired {
		b.resync.note(is.SyncDue)
	}
	if stalls {
		b.note(ctx, b.unstall(ctx, is))
	}
	return nil
}

func (b *bucket) note(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		b.Logger.Debug("cannot tell whether a bucket is stalled", "bucket", b.name, "error", err)
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
