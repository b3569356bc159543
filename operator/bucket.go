package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections"
)

// ReasonBucketStalled is the reason of the Event that says that the server does not
// bring a message into a bucket.
const ReasonBucketStalled = "BucketStalled"

// fewLooks is after how many looks at a bucket that has not moved it is asked what
// it lacks. That costs the server work for each key, so it is asked again after
// twice as many each time, and after manyLooks at the latest: most of those that do
// not move have all there is.
const fewLooks, manyLooks = 4, 256

// bucketLook is what the looks at a bucket found.
type bucketLook struct {
	at      uint64                  // where it was
	still   int                     // looks since it came there
	suspect *jetstream.RawStreamMsg // what it lacked first, at the last look that asked for it
	stalled bool
}

// look is told where the bucket is. It says whether it is to be asked what it
// lacks, and whether it is news that it stands still: it lacked something at the
// look before, and has not moved.
func (l *bucketLook) look(at uint64) (ask, news bool) {
	if at != l.at {
		*l = bucketLook{at: at}
		return false, false
	}
	l.still++
	if l.suspect != nil {
		news, l.stalled = !l.stalled, true
		return false, news
	}
	return l.still >= fewLooks && l.still&(l.still-1) == 0 || l.still%manyLooks == 0, false
}

// lookAtBuckets says which bucket stands still. The server tries for ever what it
// cannot bring into a bucket, and nothing behind it comes.
func (r *replica) lookAtBuckets(ctx context.Context, looks map[string]*bucketLook) {
	for _, bucket := range eventlog.Buckets() {
		if looks[bucket] == nil {
			looks[bucket] = &bucketLook{}
		}
		if err := r.lookAt(ctx, bucket, looks[bucket]); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			r.options.Logger.Debug("it is not known whether a bucket stands still", "bucket", bucket, "error", err)
		}
	}
}

func (r *replica) lookAt(ctx context.Context, bucket string, l *bucketLook) error {
	at, err := projections.Position(ctx, r.js, bucket)
	if err != nil {
		return err
	}
	ask, news := l.look(at)
	r.metrics.stalled.WithLabelValues(bucket).Set(number(l.stalled))
	if ask {
		l.suspect, err = projections.Lacks(ctx, r.js, bucket)
	}
	if news {
		r.options.Logger.Error("a bucket stands still: the server does not bring a message into it", "reason", ReasonBucketStalled,
			"bucket", bucket, "sequence", l.suspect.Sequence, "subject", l.suspect.Subject)
		r.events.Warn(ReasonBucketStalled, "Project", fmt.Sprintf("Bucket %s: %v; its log says why. What is decided goes on. See: fleetctl verify",
			bucket, &projections.StalledError{Message: l.suspect}), nil)
	}
	return err
}
