// Package buckets keeps the four buckets of the contract: key-value views of
// the log that the NATS server itself maintains, and that nobody writes to.
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

// Config says how the buckets are kept.
type Config struct {
	Replicas int // 1 for development, 3 in production; 0 means 1
	// StallTimeout is how long a rebuild waits for a bucket that stands still before it
	// puts it in service as it is; 0 means 30 s.
	StallTimeout time.Duration
}

// Metadata keys of a bucket's stream.
const (
	metaLogID      = "fleet-log-id"     // of the log that it projects
	metaRebuilding = "fleet-rebuilding" // set while a rebuild is under way: which
	metaSyncDue    = "fleet-sync-due"   // set from a rebuild on until all devices were told to sync: after which
)

// stream is the configuration of a bucket: a KV stream without subjects of its
// own, so that nothing but its source can write it.
func stream(bucket string, c Config, logID string) jetstream.StreamConfig {
	p := eventlog.ProjectionOf(bucket)
	storage := jetstream.FileStorage
	if p.Stream == eventlog.PulseStream {
		storage = jetstream.MemoryStorage // as its source: they are lost together
	}
	return jetstream.StreamConfig{
		Name:              eventlog.BucketStream(bucket),
		Description:       "Projection of the event log, kept by the server; write to the log instead.",
		Storage:           storage,
		MaxMsgsPerSubject: 1,
		// What the server cannot store here it tries for ever, and nothing after it
		// comes: so whatever the log takes fits here, with what the server adds to it,
		// and whatever its header says purges nothing.
		MaxMsgSize:  -1,
		AllowRollup: false,
		Discard:     jetstream.DiscardNew,
		AllowDirect: true,
		DenyDelete:  true,
		Duplicates:  0, // off, as the source deduplicates: a rebuild would drop ids that were minutes apart there
		Replicas:    max(1, c.Replicas),
		Metadata:    map[string]string{metaLogID: logID},
		Sources:     []*jetstream.StreamSource{source(p, 0, 0)},
	}
}

// live is the configuration of a bucket in service: desired-state also sends
// each new value to its device. What the bucket's metadata says besides, such as
// that devices have not been told to sync, is in the configuration that it has: see
// served.
func live(bucket string, c Config, logID string) jetstream.StreamConfig {
	s := stream(bucket, c, logID)
	if p := eventlog.ProjectionOf(bucket); p.Live != "" {
		s.RePublish = &jetstream.RePublish{Source: p.KV, Destination: p.Live}
	}
	return s
}

// served is the configuration to put a bucket in service with that is configured
// as present says.
func served(bucket string, c Config, logID string, present jetstream.StreamConfig) jetstream.StreamConfig {
	s := live(bucket, c, logID)
	if due := present.Metadata[metaSyncDue]; due != "" {
		s.Metadata[metaSyncDue] = due
	} else if s.RePublish != nil && present.RePublish == nil {
		s.Metadata[metaSyncDue] = ulid.Make().String() // what was written meanwhile was sent to no device
	}
	if passed := present.Metadata[metaSkipped]; passed != "" {
		s.Metadata[metaSkipped] = passed
	}
	if moves, _, ok := moved(bucket, present.Sources); ok && moves > 0 {
		s.Sources = present.Sources
	}
	return s
}

// serve puts a bucket in service that agrees with the log. One that stands still
// keeps the replicas that it has: see finish.
func serve(ctx context.Context, js jetstream.JetStream, c Config, bucket, logID string, present jetstream.StreamConfig) error {
	if bucket != eventlog.BucketDesired && present.Replicas < max(1, c.Replicas) {
		lacks, err := Lacks(ctx, js, bucket)
		if err != nil {
			return err
		}
		if lacks != nil {
			c.Replicas = present.Replicas
		}
	}
	return update(ctx, js, bucket, present.Replicas, served(bucket, c, logID, present))
}

// Ensure makes what is missing of the buckets, rebuilds those that the log has
// left behind (see Check) and finishes rebuilds that were cut short. It waits for
// rebuilds that somebody else does. It returns the buckets that were put in service
// again; whether devices must be told to sync, SyncDue says. Nothing may be decided
// before it has returned. The log must be there. A bucket of what devices say that
// stands still, or that no server leads, is no failure: nothing is decided by those;
// see Lacks, and Revive.
func Ensure(ctx context.Context, js jetstream.JetStream, c Config) (rebuilt []string, err error) {
	if _, err := logstream.Inspect(ctx, js); err != nil {
		return nil, err
	}
	if err := logstream.EnsurePulse(ctx, js, c.Replicas); err != nil {
		return nil, err
	}
	for _, b := range eventlog.Buckets() {
		again, err := Mend(ctx, js, c, b)
		for errors.Is(err, ErrUnderWay) {
			t := time.NewTimer(standstillLook)
			select {
			case <-ctx.Done():
				t.Stop()
				return rebuilt, ctx.Err()
			case <-t.C:
			}
			again, err = Mend(ctx, js, c, b)
		}
		if err != nil {
			return rebuilt, err
		}
		if again {
			rebuilt = append(rebuilt, b)
		}
	}
	return rebuilt, nil
}

// halted says whether no server leads a bucket.
func halted(bucket *jetstream.StreamInfo) bool {
	return bucket.Cluster != nil && bucket.Cluster.Leader == ""
}

// Revive rebuilds a bucket of what devices say that no server leads, where the log's
// own servers are well: with nats-server 2.15, a message that the server cannot store
// ends all replicas of a bucket, and no change of its configuration brings them back.
// It fails with ErrUnhealthy where the servers have other trouble.
func Revive(ctx context.Context, js jetstream.JetStream, c Config, bucket string) error {
	if bucket == eventlog.BucketDesired {
		return errors.New("bucket desired-state is left to its servers: no device can end it")
	}
	log, err := js.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
	}
	info := log.CachedInfo()
	if err := whole(info); err != nil {
		return err
	}
	if err := healthy(info.Cluster); err != nil {
		return err
	}
	return Rebuild(ctx, js, c, bucket, nil)
}

// Mend is Ensure for one bucket, and does not wait: it fails with ErrUnderWay while
// somebody else rebuilds the bucket. A rebuild that stands still for some seconds
// counts as cut short. It says whether it has rebuilt the bucket, or has finished
// the rebuild.
func Mend(ctx context.Context, js jetstream.JetStream, c Config, bucket string) (rebuilt bool, err error) {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return false, err
	}
	why, err := Check(ctx, js, bucket)
	if err != nil {
		return false, err
	}
	switch {
	case why == Halted && bucket != eventlog.BucketDesired:
		return false, nil
	case why == Halted:
		return false, fmt.Errorf("bucket %s: no server leads it", bucket)
	case why == Sound:
		s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
		if err == nil {
			err = serve(ctx, js, c, bucket, log.ID, s.CachedInfo().Config)
		}
		if err != nil {
			return false, fmt.Errorf("ensure bucket %s: %w", bucket, err)
		}
		return false, nil
	case why == Missing && log.Last == 0:
		_, err := js.CreateStream(ctx, live(bucket, c, log.ID))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return false, ErrUnderWay
		}
		if err != nil {
			return false, fmt.Errorf("make bucket %s: %w", bucket, err)
		}
		return false, nil
	case why == Unfinished:
		alone, err := abandoned(ctx, js, bucket)
		if err == nil && !alone {
			err = ErrUnderWay
		}
		if err == nil {
			err = takeOver(ctx, js, c, bucket)
		}
		if err != nil && !errors.As(err, new(*StalledError)) {
			return false, err
		}
		return true, nil
	}
	err = Rebuild(ctx, js, c, bucket, nil)
	if err != nil && !errors.As(err, new(*StalledError)) {
		return false, err
	}
	return true, nil
}

// Finding is what Check says of a bucket.
type Finding string

// What a bucket can be. All but Sound and Misconfigured call for a rebuild.
const (
	Sound      Finding = "Sound"
	Missing    Finding = "Missing"    // it is not there
	Unfinished Finding = "Unfinished" // a rebuild of it was cut short
	OtherLog   Finding = "OtherLog"   // it projects a log that is not this one
	Ahead      Finding = "Ahead"      // it has what the log does not: the log lost its tail
	Diverged   Finding = "Diverged"   // it has other than the log at the same sequence

	// Halted: no server leads its replicas, as after a message that ended them all; see
	// finish. A bucket is for some seconds, too, while its servers elect.
	Halted Finding = "Halted"

	// Misconfigured: its stream is not configured as that of a bucket in service, so
	// that values may be wrong, or may not reach devices. Look alone says it.
	Misconfigured Finding = "Misconfigured"
)

// checked is how many of a bucket's newest messages are compared with the log:
// where the log lost its tail and went on, the bucket's older part is sound and
// what was written since is short.
const checked = 512

// Check compares a bucket with the log that it projects: its log id, and its
// newest messages with those that the log has at the sequences from which the
// server says it took them.
func Check(ctx context.Context, js jetstream.JetStream, bucket string) (Finding, error) {
	p := eventlog.ProjectionOf(bucket)
	s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return Missing, nil
	}
	if err != nil {
		return "", fmt.Errorf("check bucket %s: %w", bucket, err)
	}
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return "", err
	}
	info := s.CachedInfo()
	switch {
	case info.Config.Metadata[metaRebuilding] != "":
		return Unfinished, nil
	case info.Config.Metadata[metaLogID] != log.ID:
		return OtherLog, nil
	case halted(info):
		return Halted, nil
	}
	found, err := compare(ctx, js, info, p)
	if err != nil {
		return "", fmt.Errorf("check bucket %s: %w", bucket, err)
	}
	return found, nil
}
