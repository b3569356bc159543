package buckets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// metaSkipped lists the messages of its source that a bucket was moved past, by their
// sequences in the order in which that was done.
const metaSkipped = "fleet-passed-over"

// maxSkipped is how many of them a bucket's metadata lists, the last ones: a device
// can make as many as it likes.
const maxSkipped = 128

// source is where a bucket comes from: from the beginning, or where its source was
// moved, from a sequence on.
func source(p eventlog.Projection, moves int, from uint64) *jetstream.StreamSource {
	return &jetstream.StreamSource{
		Name: p.Stream, OptStartSeq: from,
		SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: p.From, Destination: p.ToMoved(moves)}},
	}
}

// moved says how often a bucket's source was moved, and to where. It is false for a
// source that is not the bucket's.
func moved(bucket string, sources []*jetstream.StreamSource) (moves int, from uint64, ok bool) {
	p := eventlog.ProjectionOf(bucket)
	if len(sources) != 1 || sources[0].Name != p.Stream || len(sources[0].SubjectTransforms) != 1 ||
		sources[0].FilterSubject != "" || sources[0].OptStartTime != nil || sources[0].SubjectTransforms[0].Source != p.From {
		return 0, 0, false
	}
	moves, ok = p.Moves(sources[0].SubjectTransforms[0].Destination)
	from = sources[0].OptStartSeq
	return moves, from, ok && (moves > 0) == (from > 0)
}

// skipped reads which messages a bucket was moved past.
func skipped(c jetstream.StreamConfig) []uint64 {
	var passed []uint64
	for s := range strings.SplitSeq(c.Metadata[metaSkipped], ",") {
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			passed = append(passed, n)
		}
	}
	return passed
}

// Skipped gives the sequences of the messages that a bucket was moved past, the
// last 128 at most.
func Skipped(ctx context.Context, js jetstream.JetStream, bucket string) ([]uint64, error) {
	s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return skipped(s.CachedInfo().Config), nil
}

// ErrNotStalled says that a bucket does not stand before the message that it was to
// be moved past.
var ErrNotStalled = errors.New("the bucket does not stand before that message")

// Skip moves a bucket past the message of its source before which it stands, and
// loses nothing else. It records the message in the bucket's metadata. desired-state
// is never moved: what devices should run is not left out. It does nothing where the
// bucket was moved past the message already, so that an attempt whose answer was lost
// can be repeated, and fails with ErrNotStalled where the bucket has come on.
//
// The bucket's source is replaced by one that begins behind the message; see
// eventlog.Projection.ToMoved for how the server tells it from the old one, also
// after a restart.
func Skip(ctx context.Context, js jetstream.JetStream, bucket string, sequence uint64) error {
	if err := skip(ctx, js, bucket, sequence); err != nil {
		return fmt.Errorf("move bucket %s past message %d: %w", bucket, sequence, err)
	}
	return nil
}

func skip(ctx context.Context, js jetstream.JetStream, bucket string, sequence uint64) error {
	if bucket == eventlog.BucketDesired {
		return errors.New("what devices should run is not left out")
	}
	next, err := Lacks(ctx, js, bucket)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
	if err != nil {
		return err
	}
	c := s.CachedInfo().Config
	switch passed := slices.Contains(skipped(c), sequence); {
	case next != nil && next.Sequence == sequence:
	case passed:
		return nil
	default:
		return ErrNotStalled
	}
	moves, _, ok := moved(bucket, c.Sources)
	if !ok {
		return errors.New("its source is not that of the bucket")
	}
	c.Sources = []*jetstream.StreamSource{source(eventlog.ProjectionOf(bucket), moves+1, sequence+1)}
	if passed := skipped(c); !slices.Contains(passed, sequence) {
		c.Metadata[metaSkipped] = listed(append(passed, sequence))
	}
	_, err = js.UpdateStream(ctx, c)
	return err
}

// Resume has the server go on with a bucket where it stands, by a source that is made
// again and begins behind what the bucket has, so that nothing is left out. With
// nats-server 2.15 the source of a stream that was given more replicas can be dead
// until then.
func Resume(ctx context.Context, js jetstream.JetStream, bucket string) error {
	at, err := Position(ctx, js, bucket)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, eventlog.BucketStream(bucket))
	if err != nil {
		return fmt.Errorf("bucket %s: %w", bucket, err)
	}
	c := s.CachedInfo().Config
	moves, _, ok := moved(bucket, c.Sources)
	if !ok {
		return fmt.Errorf("bucket %s: its source is not that of the bucket", bucket)
	}
	c.Sources = []*jetstream.StreamSource{source(eventlog.ProjectionOf(bucket), moves+1, at+1)}
	if _, err = js.UpdateStream(ctx, c); err != nil {
		return fmt.Errorf("resume bucket %s: %w", bucket, err)
	}
	return nil
}

// scaleTimeout is how long the new replicas of a bucket are waited for.
const scaleTimeout = 30 * time.Second

// update changes a bucket's configuration. Where that gives it more replicas, it waits
// for them and resumes the bucket.
func update(ctx context.Context, js jetstream.JetStream, bucket string, present int, c jetstream.StreamConfig) error {
	if _, err := js.UpdateStream(ctx, c); err != nil || present >= c.Replicas {
		return err
	}
	tick := time.NewTicker(trialLook)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < scaleTimeout; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		s, err := js.Stream(ctx, c.Name)
		if err != nil || halted(s.CachedInfo()) || s.CachedInfo().Cluster == nil {
			continue // they elect
		}
		if info := s.CachedInfo(); len(info.Cluster.Replicas) >= c.Replicas-1 && healthy(info.Cluster) == nil {
			break
		}
	}
	return Resume(ctx, js, bucket)
}

func listed(passed []uint64) string {
	if len(passed) > maxSkipped {
		passed = passed[len(passed)-maxSkipped:]
	}
	s := make([]string, len(passed))
	for i, n := range passed {
		s[i] = strconv.FormatUint(n, 10)
	}
	return strings.Join(s, ",")
}

const (
	trialWait    = 5 * time.Second  // for the message, once another one has come
	trialTimeout = 20 * time.Second // for that other one
	trialLook    = 200 * time.Millisecond
)

// Refuses says whether the NATS server refuses to store a message of the source in a
// bucket, by having it try: in a stream of its own, in memory and for some seconds,
// with the log's last election beside it, which any server stores. Where neither
// comes, the server has other trouble, and Refuses fails. The log must have had an
// election.
func Refuses(ctx context.Context, js jetstream.JetStream, bucket string, sequence uint64) (bool, error) {
	refused, err := trial(ctx, js, bucket, sequence)
	if err != nil {
		return false, fmt.Errorf("try message %d in a stream like that of bucket %s: %w", sequence, bucket, err)
	}
	return refused, nil
}

func trial(ctx context.Context, js jetstream.JetStream, bucket string, sequence uint64) (bool, error) {
	election, err := reader.LastSequence(ctx, js, eventlog.LogStream, eventlog.LeaderSubject)
	if err != nil {
		return false, err
	}
	c := stream(bucket, Config{}, "")
	c.Name, c.Storage, c.Metadata = eventlog.TrialStream(bucket), jetstream.MemoryStorage, nil
	c.Description = "Tries for some seconds whether the server can store a message in a bucket."
	c.MaxMsgs, c.Discard, c.DenyDelete = 64, jetstream.DiscardOld, false
	c.Sources = []*jetstream.StreamSource{
		source(eventlog.ProjectionOf(bucket), 1, sequence),
		{Name: eventlog.LogStream, FilterSubject: eventlog.LeaderSubject, OptStartSeq: max(1, election)},
	}
	remove := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, trialTimeout)
		defer cancel()
		if err := js.DeleteStream(ctx, c.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		return nil
	}
	if err := remove(ctx); err != nil { // of somebody who was killed
		return false, err
	}
	s, err := js.CreateStream(ctx, c)
	if err != nil {
		return false, err
	}
	defer func() { _ = remove(context.WithoutCancel(ctx)) }()
	tick := time.NewTicker(trialLook)
	defer tick.Stop()
	var came time.Time // when the election did
	for began := time.Now(); came.IsZero() || time.Since(came) < trialWait; {
		if came.IsZero() && time.Since(began) > trialTimeout {
			return false, errors.New("the server did not bring any other message there either")
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err != nil {
			return false, err
		}
		for subject := range info.State.Subjects {
			if subject != eventlog.LeaderSubject {
				return false, nil // it, or one that came behind it
			}
			if came.IsZero() {
				came = time.Now()
			}
		}
	}
	return true, nil
}
