package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/buckets"
)

const (
	// ReasonBucketStalled is the reason of the Event that says that the server does not
	// copy a message into a bucket, and that the operator cannot help it.
	ReasonBucketStalled = "BucketStalled"
	// ReasonBucketPassed is the reason of the Event that says that the operator moved a
	// bucket past a message that the server refuses.
	ReasonBucketPassed = "BucketMessagePassedOver"
)

const (
	// stallTimeout is after how long a bucket that lacks something and does not move is
	// stalled; stallTimeoutAgain where it was moved past a message within stallRecent.
	stallTimeout      = 20 * time.Second
	stallTimeoutAgain = 5 * time.Second
	stallRecent       = 10 * time.Minute
	// haltTimeout is how long the servers of a bucket have to elect its leader.
	haltTimeout = 10 * time.Second
	// stallRetry is how long a bucket that could not be helped is left alone.
	stallRetry = time.Minute
	// resumeWait is how long a bucket has to come on that was made to begin again.
	resumeWait = 15 * time.Second
	// passedPause is how often at most an Event says that a bucket was moved.
	passedPause = time.Minute
)

// stall is what is known of a bucket that the server does not continue. It is moved
// past the message at which it stands: what one device wrote so does not hold up what
// the others say.
type stall struct {
	progress progress
	halted   time.Time // since when no server leads it; zero where one does
	passed   time.Time // when it was moved last
	told     time.Time // when an Event last said that it was moved
	untold   int       // moves since
	resumed  uint64    // the message at which the server was made to begin again
	helpless uint64    // the message at which an Event said that it is stalled
	retry    time.Time // when it is looked at again
}

// unstall moves the bucket on where it has lacked something for too long.
func (b *bucket) unstall(ctx context.Context, is buckets.Service) error {
	s := &b.stall
	moved := s.progress.moved(is)
	if b.name == eventlog.BucketHeartbeat && !moved { // one that moves has its source
		if again, err := b.ensurePulses(ctx); again || err != nil {
			return err
		}
	}
	var end uint64
	ask, err := s.progress.look(is, func() (uint64, error) {
		var err error
		end, err = b.sourceEnd(ctx)
		return end, err
	})
	if err != nil {
		return err
	}
	var lacks *jetstream.RawStreamMsg
	if ask || moved {
		if lacks, err = buckets.LacksAfter(ctx, b.JS, b.name, s.progress.whole); err != nil {
			return err
		}
	}
	b.Metrics.lags.note(b.name, is, lacks)
	if ask {
		s.progress.lacks(lacks, end, time.Now())
	}
	if s.progress.suspect == nil {
		b.Metrics.stalled.WithLabelValues(b.name).Set(0)
		s.helpless = 0
		return b.scaleUp(ctx, is)
	}
	timeout := stallTimeout
	if time.Since(s.passed) < stallRecent {
		timeout = stallTimeoutAgain
	}
	if time.Since(s.progress.since) < timeout {
		return nil
	}
	return b.movePast(ctx, s.progress.suspect)
}

// ensurePulses makes the stream of pulses again where it is gone, as it is in memory, and
// the bucket again where the stream began again without it: the server would project
// nothing until the stream is as long as before. It says whether it made the bucket again.
func (b *bucket) ensurePulses(ctx context.Context) (again bool, err error) {
	at, err := buckets.Position(ctx, b.JS, b.name) // asked first, so the stream has all that the bucket has
	if err != nil {
		return false, err
	}
	end, err := b.sourceEnd(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err = logstream.EnsurePulse(ctx, b.JS, b.config.Replicas); err == nil {
			b.Logger.Warn("the stream of pulses was not there; the operator made it again", "stream", eventlog.PulseStream)
		}
	}
	if err != nil || at <= end {
		return false, err
	}
	b.stall.progress = progress{}
	if again, err = buckets.Mend(ctx, b.JS, b.config, b.name); again {
		b.Logger.Warn("a bucket had more than the stream of pulses, which began again; the operator made it again", "bucket", b.name, "at", at, "end", end)
	}
	return again, err
}

// sourceEnd is the last sequence of the bucket's source.
func (b *bucket) sourceEnd(ctx context.Context) (uint64, error) {
	p := eventlog.ProjectionOf(b.name)
	s, err := b.JS.Stream(ctx, p.Stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", p.Stream, err)
	}
	return s.CachedInfo().State.LastSeq, nil
}

// movePast moves the bucket past the message at which it stands, where it is the
// message that the server refuses.
func (b *bucket) movePast(ctx context.Context, m *jetstream.RawStreamMsg) error {
	s := &b.stall
	b.Metrics.stalled.WithLabelValues(b.name).Set(1)
	refused, err := false, error(nil)
	if b.name != eventlog.BucketDesired { // of that nothing is left out
		refused, err = buckets.Refuses(ctx, b.JS, b.name, m.Sequence)
	}
	why := "the NATS server began again there in vain"
	if refused {
		if err = buckets.Skip(ctx, b.JS, b.name, m.Sequence); err == nil {
			b.wasPassed(m)
			return nil
		}
	} else if err == nil { // it is not the message: the source may be dead
		if err = buckets.Resume(ctx, b.JS, b.name); err == nil && s.resumed != m.Sequence {
			s.resumed, s.retry = m.Sequence, time.Now().Add(resumeWait)
			b.Logger.Warn("a bucket is stalled at a message that the NATS server stores elsewhere; the operator had the server begin again there",
				"bucket", b.name, "sequence", m.Sequence)
			return nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, buckets.ErrNotStalled):
		s.progress = progress{}
		return nil
	case err != nil:
		why = err.Error()
	}
	s.retry = time.Now().Add(stallRetry)
	if s.helpless == m.Sequence {
		return nil
	}
	s.helpless = m.Sequence
	stalled := &buckets.StalledError{Message: m}
	b.Logger.Error("a bucket is stalled; the operator cannot move it past the message", "reason", ReasonBucketStalled,
		"bucket", b.name, "sequence", m.Sequence, "subject", m.Subject, "why", why)
	b.Events.Warn(ReasonBucketStalled, "Project", fmt.Sprintf("Bucket %s is %v. "+
		"The operator cannot move the bucket past it: %s. It goes on deciding. See the NATS server's log, and: fleetctl verify", b.name, stalled, why), nil)
	return nil
}

// wasPassed says that the bucket was moved, at most once a minute as an Event.
func (b *bucket) wasPassed(m *jetstream.RawStreamMsg) {
	s := &b.stall
	b.Metrics.stalled.WithLabelValues(b.name).Set(0)
	b.Metrics.passed.WithLabelValues(b.name).Inc()
	s.passed, s.progress, s.helpless = time.Now(), progress{}, 0
	device := writerOf(m.Subject)
	b.Logger.Error("the operator moved a bucket past a message that the NATS server refuses to store in it", "reason", ReasonBucketPassed,
		"bucket", b.name, "device", device, "sequence", m.Sequence, "subject", m.Subject)
	s.untold++
	if time.Since(s.told) < passedPause {
		return
	}
	more := ""
	if s.untold > 1 {
		more = fmt.Sprintf(" (%d such messages since the last Event)", s.untold)
	}
	b.Events.Warn(ReasonBucketPassed, "Project", fmt.Sprintf("The operator moved bucket %s past message %d of device %s (%s), which the NATS server "+
		"refuses to store in it%s. Nothing else is left out. No agent of the fleet sends such a message: look at the device. See: fleetctl verify",
		b.name, m.Sequence, device, m.Subject, more), nil)
	s.told, s.untold = time.Now(), 0
}

// writerOf is the device that may write on a subject.
func writerOf(subject string) string {
	if id, ok := eventlog.DeviceOfPulse(subject); ok {
		return id
	}
	a, err := eventlog.ParseSubject(subject)
	if err != nil || a.Device == "" {
		return "unknown"
	}
	return a.Device
}

// revive rebuilds a bucket that no server has led for some seconds, so that it stalls
// where its replicas ended, and can be moved.
func (b *bucket) revive(ctx context.Context) error {
	s := &b.stall
	if s.halted.IsZero() {
		s.halted = time.Now()
	}
	if time.Since(s.halted) < haltTimeout || b.name == eventlog.BucketDesired {
		return nil
	}
	b.Metrics.stalled.WithLabelValues(b.name).Set(1)
	err := buckets.Revive(ctx, b.JS, b.config, b.name)
	var stalled *buckets.StalledError
	switch {
	case errors.Is(err, buckets.ErrUnderWay):
		return nil
	case err != nil && !errors.As(err, &stalled):
		s.retry = time.Now().Add(haltTimeout)
		b.Logger.Warn("cannot rebuild a bucket that no NATS server leads; will retry", "bucket", b.name, "error", err)
		return err
	}
	s.halted, s.progress = time.Time{}, progress{}
	b.Metrics.repairs.WithLabelValues(b.name).Inc()
	b.Logger.Warn("the operator rebuilt a bucket that no NATS server led", "reason", ReasonBucketRepaired, "bucket", b.name)
	b.Events.Warn(ReasonBucketRepaired, "Rebuild", fmt.Sprintf("Bucket %s was not in service: no NATS server led its replicas. The operator rebuilt it.", b.name), nil)
	if stalled != nil {
		return b.movePast(ctx, stalled.Message)
	}
	return nil
}

// scaleUp gives a bucket its replicas, once it has all there is and nothing was
// passed for some time: with one replica a bad message costs a move, with several a
// rebuild.
func (b *bucket) scaleUp(ctx context.Context, is buckets.Service) error {
	if is.Replicas >= b.Replicas || time.Since(b.stall.passed) < stallRecent {
		return nil
	}
	_, err := buckets.Mend(ctx, b.JS, b.config, b.name)
	return err
}
