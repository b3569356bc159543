package buckets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// Why a bucket cannot be rebuilt from the log as it is, or not now.
var (
	// ErrUnderWay: somebody else rebuilds the bucket.
	ErrUnderWay = errors.New("a rebuild of it is under way")
	// ErrOtherLog: the bucket projects a log that is not this one.
	ErrOtherLog = errors.New("it projects another log than this one")
	// ErrAhead: the bucket has what the log does not have any more.
	ErrAhead = errors.New("it has what the log does not have: the log lost its tail")
	// ErrIncomplete: the log does not have all of its messages.
	ErrIncomplete = errors.New("the log is not whole")
	// ErrUnhealthy: not all of the log's replicas are there and current.
	ErrUnhealthy = errors.New("the log is not healthy")
)

// Rebuildable says whether rebuilding a bucket would give back what it should
// have: a bucket is worth no less than a log that lost part of itself. It gives
// the configuration to rebuild it with. A rebuild that was cut short is taken for
// that once it has stood still for some seconds.
//
// Errors: ErrUnderWay, ErrOtherLog, ErrAhead, ErrIncomplete, ErrUnhealthy; that
// of a stream that is not there.
func Rebuildable(ctx context.Context, js jetstream.JetStream, bucket string) (Config, error) {
	log, err := js.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return Config{}, fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
	}
	info := log.CachedInfo()
	c := Config{Replicas: info.Config.Replicas}
	if err := whole(info); err != nil {
		return c, err
	}
	if err := healthy(info.Cluster); err != nil {
		return c, err
	}
	if p := eventlog.ProjectionOf(bucket); p.Stream != eventlog.LogStream {
		if _, err := js.Stream(ctx, p.Stream); err != nil {
			return c, fmt.Errorf("stream %s: %w", p.Stream, err)
		}
	}
	found, err := Check(ctx, js, bucket)
	switch {
	case err != nil:
		return c, err
	case found == OtherLog:
		return c, ErrOtherLog
	case found == Ahead:
		return c, ErrAhead
	case found == Unfinished:
		alone, err := abandoned(ctx, js, bucket)
		if err == nil && !alone {
			err = ErrUnderWay
		}
		return c, err
	}
	return c, nil
}

func whole(log *jetstream.StreamInfo) error {
	if logstream.RestoringArchive(log.Config) != "" {
		return logstream.ErrRestoring
	}
	if missing := logstream.Missing(log.State); missing != "" {
		return fmt.Errorf("%w: %s", ErrIncomplete, missing)
	}
	return nil
}

func healthy(c *jetstream.ClusterInfo) error {
	if c == nil {
		return nil
	}
	if c.Leader == "" {
		return fmt.Errorf("%w: it has no leader", ErrUnhealthy)
	}
	for _, r := range c.Replicas {
		if r.Offline || !r.Current {
			return fmt.Errorf("%w: its replica on %s is offline or behind", ErrUnhealthy, r.Name)
		}
	}
	return nil
}

const (
	standstill     = 3 * time.Second // after which a rebuild counts as cut short
	standstillLook = 100 * time.Millisecond
)

// abandoned says whether nobody goes on with a rebuild: it has stood still for some
// seconds, or it has been at its end for as long, where anyone who does it would have put
// the bucket into service. The server goes on by itself to bring the log into the
// bucket, so a bucket that comes on is no sign of anybody.
func abandoned(ctx context.Context, js jetstream.JetStream, bucket string) (bool, error) {
	at := func() (uint64, string, error) {
		s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return 0, "", nil
		}
		if err != nil {
			return 0, "", fmt.Errorf("bucket %s: %w", bucket, err)
		}
		i := s.CachedInfo()
		return i.State.LastSeq, i.Config.Metadata[metaRebuilding], nil
	}
	sequence, which, err := at()
	if err != nil || which == "" {
		return false, err
	}
	lacks, err := Lacks(ctx, js, bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	tick := time.NewTicker(standstillLook)
	defer tick.Stop()
	for end := time.Now().Add(standstill); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
		now, same, err := at()
		if err != nil || same != which || lacks != nil && now != sequence {
			return false, err
		}
	}
	return true, nil
}
