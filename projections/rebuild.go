package projections

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"fleet.nationtech.io/eventlog"
)

// Rebuild throws a bucket away and has the server project it from the log anew.
// It is built without republishing, which would send every old value to the
// devices once more; that is switched on when the bucket has caught up. Until
// then its metadata says that a rebuild is under way, and which, so that any
// leader can finish it by Mend. progress is told the sequences of the source
// that have been passed and are to be passed; it may be nil. After desired-state was
// rebuilt every device must be told to sync (eventlog.TellToSync); the bucket's
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
	log, err := eventlog.Log(ctx, js)
	if err != nil {
		return err
	}
	building := stream(bucket, c, log.ID)
	if s, err := js.Stream(ctx, building.Name); err == nil && bucket != eventlog.BucketHeartbeat { // pulses are not kept: their sequences begin anew
		if is := s.CachedInfo().Config; is.Metadata[metaLogID] == log.ID && is.Metadata[metaPassed] != "" {
			building.Metadata[metaPassed] = is.Metadata[metaPassed]
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
// into the bucket since, and where that is not of this log, begins it anew.
func takeOver(ctx context.Context, js jetstream.JetStream, c Config, bucket string) error {
	log, err := eventlog.Log(ctx, js)
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
	if _, err := js.UpdateStream(ctx, served(bucket, c, building.Metadata[metaLogID], building)); err != nil {
		return fmt.Errorf("put it in service: %w", err)
	}
	return stalled
}

// StalledError says that the server does not bring a message into a bucket, so that
// nothing behind it comes.
type StalledError struct {
	Message *jetstream.RawStreamMsg // of the source
}

func (e *StalledError) Error() string {
	return fmt.Sprintf("it stands still before message %d (%s): the NATS server does not bring that into it, and nothing behind it comes",
		e.Message.Sequence, e.Message.Subject)
}

// stallPatience is how long a bucket may lack the same message before a rebuild
// takes it for one that the server cannot project: long, for machines that do much
// else, and for servers that elect a leader of the new bucket first.
const stallPatience = 30 * time.Second

// catchUp waits until a bucket has all that there is of its source. The log goes
// on meanwhile, so it looks again each time. It moves the bucket past what it was
// moved past before. It fails with a *StalledError.
func catchUp(ctx context.Context, js jetstream.JetStream, c Config, bucket string, progress func(done, total uint64)) error {
	passed, err := PassedOver(ctx, js, bucket)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	w := waiting{passed: passed, timeout: stallPatience, progress: progress}
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
			if err := Pass(ctx, js, bucket, next.Sequence); err != nil && !errors.Is(err, ErrNotStalled) {
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
	n, err := eventlog.LastSequence(ctx, js, p.Stream, p.From)
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
		next, err = eventlog.NextMessage(ctx, js, p.Stream, p.From, at+1)
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
	s, err := eventlog.Authoritative(ctx, js, stream)
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
	m, err := eventlog.MessageAt(ctx, js, stream, last)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		now, err := eventlog.Authoritative(ctx, js, stream)
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
