package buckets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// Service is what one request to the server tells of a bucket.
type Service struct {
	// Finding is Sound, Missing, Unfinished, OtherLog, Halted or Misconfigured. Whether the
	// bucket agrees with the log takes more requests: see Check.
	Finding Finding
	// ResyncDue says that devices were not told to sync since the bucket was put in
	// service again, and after which rebuild; empty where nothing is due.
	SyncDue string
	// Created is when its stream was made, and Last the sequence of its newest message.
	Created time.Time
	Last    uint64
	// Replicas is how many replicas it has.
	Replicas int
	// At is when the bucket's leader said so, by its clock.
	At time.Time
}

// Inspect asks the server once whether a bucket of a log is in service.
func Inspect(ctx context.Context, js jetstream.JetStream, c Config, bucket, logID string) (Service, error) {
	s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return Service{Finding: Missing}, nil
	}
	if err != nil {
		return Service{}, fmt.Errorf("look at bucket %s: %w", bucket, err)
	}
	info := s.CachedInfo()
	is := info.Config
	l := Service{Finding: Sound, SyncDue: is.Metadata[metaSyncDue], Created: info.Created, Last: info.State.LastSeq, Replicas: is.Replicas, At: info.TimeStamp}
	switch {
	case is.Metadata[metaRebuilding] != "":
		l.Finding = Unfinished
	case is.Metadata[metaLogID] != logID:
		l.Finding = OtherLog
	case !configured(bucket, is, live(bucket, c, logID)):
		l.Finding = Misconfigured
	case halted(info):
		l.Finding = Halted
	}
	return l, nil
}

// configured says whether a bucket's stream is configured as it should be, in what
// decides which values it has and whether they reach devices.
func configured(bucket string, is, want jetstream.StreamConfig) bool {
	if (is.RePublish == nil) != (want.RePublish == nil) || is.RePublish != nil && *is.RePublish != *want.RePublish {
		return false
	}
	if len(is.Subjects) > 0 || is.MaxMsgsPerSubject != want.MaxMsgsPerSubject || is.MaxMsgSize != want.MaxMsgSize ||
		is.MaxMsgs > 0 || is.MaxBytes > 0 || is.MaxAge > 0 || is.AllowRollup != want.AllowRollup || is.AllowDirect != want.AllowDirect {
		return false
	}
	_, _, ok := moved(bucket, is.Sources)
	return ok
}

// ResyncDue says whether devices must be told to sync, as desired-state was put in
// service again without telling anybody what is in it: after which rebuild; empty
// where that is not due.
func ResyncDue(ctx context.Context, js jetstream.JetStream) (after string, err error) {
	s, err := js.Stream(ctx, eventlog.BucketStream(eventlog.BucketDesired))
	if err != nil {
		return "", fmt.Errorf("bucket %s: %w", eventlog.BucketDesired, err)
	}
	return s.CachedInfo().Config.Metadata[metaSyncDue], nil
}

// ResyncRequested records that devices were told to sync, after the rebuild that ResyncDue
// gave. Until then the operator that leads tells them, also after a crash. It does nothing
// where the bucket was rebuilt once more since.
func ResyncRequested(ctx context.Context, js jetstream.JetStream, after string) error {
	s, err := js.Stream(ctx, eventlog.BucketStream(eventlog.BucketDesired))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", eventlog.BucketDesired, err)
	}
	c := s.CachedInfo().Config
	if c.Metadata[metaSyncDue] != after || c.Metadata[metaRebuilding] != "" {
		return nil
	}
	delete(c.Metadata, metaSyncDue)
	if _, err := js.UpdateStream(ctx, c); err != nil {
		return fmt.Errorf("record that devices were told to sync: %w", err)
	}
	return nil
}
