package buckets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// Rebuild deletes a bucket and has the server project it from the log again.
// It is built without republishing, which would send every old value to the
// devices once more; that is switched on when the bucket has caught up. Until
// then its metadata says that a rebuild is under way, and which, so that any
// leader can finish it by Mend. progress is told the sequences of the source
// that have been passed and are to be passed; it may be nil. After desired-state was
// rebuilt every device must be told to sync (RequestResync); the bucket's
// metadata says so until SyncTold.
//
// Whether it would be safe is another question: see Rebuildable. It fails with
// ErrUnderWay where somebody else rebuilds the bucket too, and with a *StalledError
// where the server does not get on and the bucket was put in service with what it
// has: one of what devices say, never desired-state.
func Rebuild(ctx context.Context, js jetstream.JetStream, c Config, bucket string, progress func(done, total uint64)) error {
	if err := rebuild(ctx, js, c, bucket, progress); err != nil {
		return fmt.Errorf("rebuild bucket %s: %w", bucket, err)
	}
	return nil
}

func rebuild(ctx context.Context, js jetstream.JetStream, c Config, bucket string, progress func(done, total uint64)) error {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return err
	}
	building := stream(bucket, c, log.ID)
	if s, err := js.Stream(ctx, building.Name); err == nil && bucket != eventlog.BucketHeartbeat { // pulses are not kept: their sequences start over
		if is := s.CachedInfo().Config; is.Metadata[metaLogID] == log.ID && is.Metadata[metaSkipped] != "" {
			building.Metadata[metaSkipped] = is.Metadata[metaSkipped]
		}
	}
	if bucket != eventlog.BucketDesired {
		building.Replicas = 1 // see finish
	}
	if err := js.DeleteStream(ctx, building.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	which := claim(&building, bucket)
	_, err = js.CreateStream(ctx, building)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return ErrUnderWay
	}
	if err != nil {
		return err
	}
	return finish(ctx, js, c, bucket, which, progress)
}

// claim writes into the metadata of a bucket that a rebuild of it is under way, of
// its own and no other, and that devices must be told to sync after it.
func claim(s *jetstream.StreamConfig, bucket string) (which string) {
	which = ulid.Make().String()
	s.Metadata[metaRebuilding] = which
	if bucket == eventlog.BucketDesired {
		s.Metadata[metaSyncDue] = which
	}
	return which
}

// takeOver finishes a rebuild that was cut short, with what the server has brought
// into the bucket since, and where that is not of this log, starts it over.
func takeOver(ctx context.Context, js jetstream.JetStream, c Config, bucket string) error {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return Rebuild(ctx, js, c, bucket, nil)
	}
	if err != nil {
		return fmt.Errorf("take over the rebuild of bucket %s: %w", bucket, err)
	}
	info := s.CachedInfo()
	found := OtherLog
	if info.Config.Metadata[metaLogID] == log.ID && configured(bucket, info.Config, stream(bucket, c, log.ID)) {
		found, err = compare(ctx, js, info, eventlog.ProjectionOf(bucket))
	}
	if err != nil {
		return fmt.Errorf("take over the rebuild of bucket %s: %w", bucket, err)
	}
	if found != Sound {
		return Rebuild(ctx, js, c, bucket, nil)
	}
	building := info.Config
	which := claim(&building, bucket)
	if _, err = js.UpdateStream(ctx, building); err == nil {
		err = finish(ctx, js, c, bucket, which, nil)
	}
	if err != nil {
		return fmt.Errorf("take over the rebuild of bucket %s: %w", bucket, err)
	}
	return nil
}

// finish waits until a rebuild has caught up, and puts the bucket in service. A
// bucket of what devices say has one replica until then: with several, a message
// that the server cannot store ends them all (nats-server 2.15 agrees on a sourced
// message before it looks into its header), and with one it is refused, so that the
// bucket can be moved past it.
func finish(ctx context.Context, js jetstream.JetStream, c Config, bucket, which string, progress func(done, total uint64)) error {
	stalled := catchUp(ctx, js, c, bucket, progress)
	if stalled != nil && !errors.As(stalled, new(*StalledError)) {
		return stalled
	}
	if stalled != nil && bucket == eventlog.BucketDesired {
		return errors.New(stalled.Error()) // devices are not to hear from half of what they should run
	}
	s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
	if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && s.CachedInfo().Config.Metadata[metaRebuilding] != which {
		return ErrUnderWay
	}
	if err != nil {
		return err
	}
	building := s.CachedInfo().Config
	if stalled != nil {
		c.Replicas = building.Replicas
	}
	if err := update(ctx, js, bucket, building.Replicas, served(bucket, c, building.Metadata[metaLogID], building)); err != nil {
		return fmt.Errorf("put it in service: %w", err)
	}
	return stalled
}

// StalledError says that the server cannot copy a message into a bucket, so that later
// messages wait.
type StalledError struct {
	Message *jetstream.RawStreamMsg // of the source
}

func (e *StalledError) Error() string {
	return fmt.Sprintf("stalled at message %d (%s): the NATS server cannot copy it into the bucket; later messages wait",
		e.Message.Sequence, e.Message.Subject)
}

// stallTimeout is how long a bucket may lack the same message before a rebuild
// takes it for one that the server cannot project: long, for machines that do much
// else, and for servers that elect a leader of the new bucket first.
const stallTimeout = 30 * time.Second

// catchUp waits until a bucket has all that there is of its source. The log goes
// on meanwhile, so it looks again each time. It moves the bucket past what it was
// moved past before. It fails with a *StalledError.
func catchUp(ctx context.Context, js jetstream.JetStream, c Config, bucket string, progress func(done, total uint64)) error {
	passed, err := Skipped(ctx, js, bucket)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	w := waiting{passed: passed, timeout: stallTimeout, progress: progress}
	if c.StallTimeout > 0 {
		w.timeout = c.StallTimeout
	}
	for {
		target, err := lastProjected(ctx, js, bucket)
		if err != nil {
			return err
		}
		at, _, err := arrived(ctx, js, bucket, target)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return ErrUnderWay
		}
		if err != nil {
			return err
		}
		if at >= target {
			return nil
		}
		err = w.waitFor(ctx, js, bucket, target)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return ErrUnderWay
		}
		if err != nil {
			return err
		}
	}
}

// Rebuilding says whether a bucket is being rebuilt, so that what it holds is
// not all there is.
func Rebuilding(ctx context.Context, js jetstream.JetStream, bucket string) (bool, error) {
	s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return s.CachedInfo().Config.Metadata[metaRebuilding] != "", nil
}
