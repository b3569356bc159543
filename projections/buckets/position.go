package buckets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// WaitFor returns once a bucket holds all that the log had for it up to a
// sequence, or with the context's error.
func WaitFor(ctx context.Context, js jetstream.JetStream, bucket string, sequence uint64) error {
	last, err := lastProjected(ctx, js, bucket)
	if err != nil {
		return err
	}
	return waiting{}.waitFor(ctx, js, bucket, min(sequence, last))
}

// waiting is how a bucket is waited for.
type waiting struct {
	passed   []uint64                 // messages past which the bucket is moved at once
	timeout  time.Duration            // after which a bucket that stands still is given up; 0 is never
	progress func(done, total uint64) // may be nil
}

// waitFor waits until a bucket has come to a sequence of its source. Where there is a
// timeout, it fails with a *StalledError once the bucket has stood still for as long.
func (w waiting) waitFor(ctx context.Context, js jetstream.JetStream, bucket string, target uint64) error {
	const first, most = 2 * time.Millisecond, 200 * time.Millisecond
	came, since := uint64(0), time.Now() // where it came to last, and when
	for pause := first; ; pause = min(2*pause, most) {
		at, next, err := arrived(ctx, js, bucket, target)
		if err != nil {
			return err
		}
		if at != came {
			came, since = at, time.Now()
		}
		if next != nil && slices.Contains(w.passed, next.Sequence) {
			if err := Skip(ctx, js, bucket, next.Sequence); err != nil && !errors.Is(err, ErrNotStalled) {
				return err
			}
		}
		if w.timeout > 0 && next != nil && time.Since(since) > w.timeout {
			return &StalledError{Message: next}
		}
		if w.progress != nil {
			w.progress(min(at, target), target)
		}
		if at >= target {
			return nil
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("bucket %s is at sequence %d of the log, waited for %d: %w", bucket, at, target, ctx.Err())
		}
	}
}

// lastProjected is the sequence of the last message in the source that the
// bucket projects; 0 without one.
func lastProjected(ctx context.Context, js jetstream.JetStream, bucket string) (uint64, error) {
	p := eventlog.ProjectionOf(bucket)
	n, err := reader.LastSequence(ctx, js, p.Stream, p.From)
	if err != nil {
		return 0, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return n, nil
}

// Lacks is the first message of its source that a bucket does not have yet; nil
// where it has all there is. It costs the server work for each key.
func Lacks(ctx context.Context, js jetstream.JetStream, bucket string) (*jetstream.RawStreamMsg, error) {
	target, err := lastProjected(ctx, js, bucket)
	if err != nil {
		return nil, err
	}
	_, next, err := arrived(ctx, js, bucket, target)
	return next, err
}

// LacksAfter is Lacks where it is known that a bucket has all there is up to a
// sequence of its source. It costs the server little where that is near the end.
func LacksAfter(ctx context.Context, js jetstream.JetStream, bucket string, after uint64) (*jetstream.RawStreamMsg, error) {
	at, err := Position(ctx, js, bucket)
	if err != nil {
		return nil, err
	}
	_, next, err := following(ctx, js, bucket, max(at, after), math.MaxUint64)
	return next, err
}

// arrived is how far a bucket has come towards a sequence of its source: its
// position, and over what comes next where the server projects nothing of it, as a
// device may publish on a subject with a wildcard. next is what it lacks first,
// nil where it has arrived.
func arrived(ctx context.Context, js jetstream.JetStream, bucket string, target uint64) (at uint64, next *jetstream.RawStreamMsg, err error) {
	if at, err = Position(ctx, js, bucket); err != nil {
		return at, nil, err
	}
	return following(ctx, js, bucket, at, target)
}

// following is arrived from a position on.
func following(ctx context.Context, js jetstream.JetStream, bucket string, from, target uint64) (at uint64, next *jetstream.RawStreamMsg, err error) {
	at = from
	for p := eventlog.ProjectionOf(bucket); at < target; at = next.Sequence {
		next, err = reader.NextMessage(ctx, js, p.Stream, p.From, at+1)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return target, nil, nil
		}
		if err != nil {
			return at, nil, err
		}
		if _, ok := p.Key(next.Subject); ok {
			return at, next, nil
		}
	}
	return at, nil, nil
}

// ErrUnreadable says that a bucket's newest message is there and the server cannot
// give it: it is damaged on the server's disk. A rebuild makes the bucket whole.
var ErrUnreadable = errors.New("the server has the message and cannot read it")

// Position is how far a bucket has come: the sequence of its newest message in the
// source, or of the message that it was moved past; 0 while it is empty. It fails
// with ErrUnreadable where the server cannot give the newest message.
func Position(ctx context.Context, js jetstream.JetStream, bucket string) (uint64, error) {
	stream := eventlog.BucketStream(bucket)
	s, err := reader.Authoritative(ctx, js, stream)
	if err != nil {
		return 0, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	var start uint64
	if _, from, ok := moved(bucket, s.CachedInfo().Config.Sources); ok && from > 0 {
		start = from - 1
	}
	last := s.CachedInfo().State.LastSeq
	if last == 0 {
		return start, nil
	}
	m, err := reader.MessageAt(ctx, js, stream, last)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		now, err := reader.Authoritative(ctx, js, stream)
		if err == nil && now.CachedInfo().State.LastSeq == last {
			err = ErrUnreadable
		}
		if err != nil {
			return 0, fmt.Errorf("bucket %s: newest message: %w", bucket, err)
		}
		return start, nil // overtaken by the next one: ask again
	}
	if err != nil {
		return 0, fmt.Errorf("bucket %s: newest message: %w", bucket, err)
	}
	_, seq, ok := eventlog.SourceOf(m.Header)
	if !ok {
		return 0, fmt.Errorf("bucket %s: its newest message has no header %s", bucket, eventlog.HeaderStreamSource)
	}
	return max(seq, start), nil
}
