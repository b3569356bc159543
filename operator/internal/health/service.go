package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/buckets"
)

// ReasonBucketRepaired is the reason of the Event that says that a bucket was not
// in service, and that the operator put it in service again.
const ReasonBucketRepaired = "BucketRepaired"

// putInService finishes or repeats what somebody left undone of the bucket.
func (b *bucket) putInService(ctx context.Context, is buckets.Service) error {
	first := is.Finding == buckets.Missing && !b.missing
	b.missing = is.Finding == buckets.Missing
	if first {
		return nil // a rebuild deletes the bucket and makes it again
	}
	if log, err := logstream.Inspect(ctx, b.JS); err != nil || log.ID != b.logID {
		return err // of another log: the state notices, and the term ends
	}
	began := time.Now()
	_, err := buckets.Mend(ctx, b.JS, b.config, b.name)
	if errors.Is(err, buckets.ErrUnderWay) {
		return nil // and goes on: it is looked at again
	}
	if err != nil {
		return err
	}
	now, err := buckets.Inspect(ctx, b.JS, b.config, b.name, b.logID)
	if err == nil && now.Finding != buckets.Sound {
		err = fmt.Errorf("bucket %s is %s after it was repaired, as before it was %s", b.name, now.Finding, is.Finding)
	}
	if err != nil {
		return err
	}
	b.Metrics.repairs.WithLabelValues(b.name).Inc()
	b.Metrics.outOfService.WithLabelValues(b.name).Set(0)
	b.Logger.Warn("a bucket was not in service; the operator put it in service again", "reason", ReasonBucketRepaired,
		"bucket", b.name, "found", is.Finding, "took", time.Since(began))
	b.Events.Warn(ReasonBucketRepaired, "Rebuild", fmt.Sprintf("Bucket %s was not in service: %s. The operator put it in service again.%s",
		b.name, describe(is.Finding), alsoResync(b.name)), nil)
	if b.name == eventlog.BucketDesired {
		b.resync.now(now.SyncDue)
	}
	return nil
}

func describe(f buckets.Finding) string {
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

func alsoResync(bucket string) string {
	if bucket != eventlog.BucketDesired {
		return ""
	}
	return " Devices are told to sync."
}
