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

// stalls knows of each bucket the sequence that it lacked when it was looked at
// last, and whether that was said.
type stalls map[string]struct {
	lacks uint64
	said  bool
}

// look is told what a bucket lacks first, 0 for nothing. A bucket stalls where
// that is the same as at the last look; say is whether that is to be said now.
func (s stalls) look(bucket string, lacks uint64) (stalled, say bool) {
	was := s[bucket]
	stalled = lacks > 0 && lacks == was.lacks
	say = stalled && !was.said
	was.lacks, was.said = lacks, stalled
	s[bucket] = was
	return stalled, say
}

// lookAtBuckets says which bucket stands still. The server tries for ever what it
// cannot bring into a bucket, and nothing behind it comes.
func (r *replica) lookAtBuckets(ctx context.Context, s stalls) {
	for _, bucket := range eventlog.Buckets() {
		m, err := projections.Lacks(ctx, r.js, bucket)
		if err != nil {
			if !errors.Is(err, jetstream.ErrStreamNotFound) {
				r.options.Logger.Debug("it is not known whether a bucket stands still", "bucket", bucket, "error", err)
			}
			continue
		}
		var lacks uint64
		if m != nil {
			lacks = m.Sequence
		}
		stalled, say := s.look(bucket, lacks)
		r.metrics.stalled.WithLabelValues(bucket).Set(number(stalled))
		if !say {
			continue
		}
		r.options.Logger.Error("a bucket stands still: the server does not bring a message into it", "reason", ReasonBucketStalled,
			"bucket", bucket, "sequence", m.Sequence, "subject", m.Subject)
		r.events.Warn(ReasonBucketStalled, "Project", fmt.Sprintf("Bucket %s: %v; its log says why. What is decided goes on. See: fleetctl verify",
			bucket, &projections.StalledError{Message: m}), nil)
	}
}
