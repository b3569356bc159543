package operator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
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
	stallCheck = 5 * time.Second // how often a bucket is looked at
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

// stallWatch finds buckets that the server does not continue, during a term, and
// moves them past the message at which they stand. What one device wrote so does not
// hold up what the others say.
type stallWatch struct {
	r      *replica
	logID  string
	bucket string
	busy   *sync.Mutex // held while the bucket is worked on

	bucketLook
	halted   time.Time // since when nobody leads it; zero where somebody does
	passed   time.Time // when it was moved last
	said     time.Time // when an Event last said that it was moved
	unsaid   int       // moves since
	resumed  uint64    // the message at which the server was made to begin again
	helpless uint64    // the message at which it was said that it stands
	retry    time.Time // not before
}

func (w *stallWatch) run(ctx context.Context) {
	tick := time.NewTicker(stallCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Now().Before(w.retry) || !w.busy.TryLock() {
			continue
		}
		if err := w.watch(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			w.r.options.Logger.Debug("it is not known whether a bucket is stalled", "bucket", w.bucket, "error", err)
		}
		w.busy.Unlock()
	}
}

// bucketConfig is how the buckets are kept while a term is led.
func (r *replica) bucketConfig() buckets.Config {
	return buckets.Config{Replicas: r.options.Replicas, StallTimeout: stallTimeoutAgain}
}

func (w *stallWatch) watch(ctx context.Context) error {
	is, err := buckets.Inspect(ctx, w.r.js, w.r.bucketConfig(), w.bucket, w.logID)
	if err != nil {
		return err
	}
	if is.Finding == buckets.Halted {
		return w.revive(ctx)
	}
	w.halted = time.Time{}
	if is.Finding != buckets.Sound {
		w.bucketLook = bucketLook{}
		return nil // it is put in service by bucketKeeper
	}
	var end uint64
	ask, err := w.look(is, func() (uint64, error) {
		var err error
		end, err = w.sourceEnd(ctx)
		return end, err
	})
	if err != nil {
		return err
	}
	if ask {
		m, err := buckets.LacksAfter(ctx, w.r.js, w.bucket, w.whole)
		if err != nil {
			return err
		}
		w.lacks(m, end, time.Now())
	}
	if w.suspect == nil {
		w.r.metrics.stalled.WithLabelValues(w.bucket).Set(0)
		w.helpless = 0
		return w.scaleUp(ctx, is)
	}
	timeout := stallTimeout
	if time.Since(w.passed) < stallRecent {
		timeout = stallTimeoutAgain
	}
	if time.Since(w.since) < timeout {
		return nil
	}
	return w.stalled(ctx, w.suspect)
}

// sourceEnd is the last sequence of the bucket's source.
func (w *stallWatch) sourceEnd(ctx context.Context) (uint64, error) {
	p := eventlog.ProjectionOf(w.bucket)
	s, err := w.r.js.Stream(ctx, p.Stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", p.Stream, err)
	}
	return s.CachedInfo().State.LastSeq, nil
}

// stalled moves the bucket past the message at which it stands, where it is the
// message that the server refuses.
func (w *stallWatch) stalled(ctx context.Context, m *jetstream.RawStreamMsg) error {
	w.r.metrics.stalled.WithLabelValues(w.bucket).Set(1)
	refused, err := false, error(nil)
	if w.bucket != eventlog.BucketDesired { // of that nothing is left out
		refused, err = buckets.Refuses(ctx, w.r.js, w.bucket, m.Sequence)
	}
	why := "the operator had the server begin again there, and does not move the bucket past it"
	if refused {
		if err = buckets.Skip(ctx, w.r.js, w.bucket, m.Sequence); err == nil {
			w.wasPassed(m)
			return nil
		}
	} else if err == nil { // it is not the message: the source may be dead
		if err = buckets.Resume(ctx, w.r.js, w.bucket); err == nil && w.resumed != m.Sequence {
			w.resumed, w.retry = m.Sequence, time.Now().Add(resumeWait)
			w.r.options.Logger.Warn("a bucket is stalled at a message that the server stores elsewhere; the server begins again there",
				"bucket", w.bucket, "sequence", m.Sequence)
			return nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, buckets.ErrNotStalled):
		w.bucketLook = bucketLook{}
		return nil
	case err != nil:
		why = err.Error()
	}
	w.retry = time.Now().Add(stallRetry)
	if w.helpless == m.Sequence {
		return nil
	}
	w.helpless = m.Sequence
	stall := &buckets.StalledError{Message: m}
	w.r.options.Logger.Error("a bucket is stalled; the operator cannot move it past the message", "reason", ReasonBucketStalled,
		"bucket", w.bucket, "sequence", m.Sequence, "subject", m.Subject, "why", why)
	w.r.events.Warn(ReasonBucketStalled, "Project", fmt.Sprintf("Bucket %s: %v: %s. "+
		"What is decided goes on. See the NATS server's log, and: fleetctl verify", w.bucket, stall, why), nil)
	return nil
}

// wasPassed says that the bucket was moved, at most once a minute as an Event.
func (w *stallWatch) wasPassed(m *jetstream.RawStreamMsg) {
	w.r.metrics.stalled.WithLabelValues(w.bucket).Set(0)
	w.r.metrics.passed.WithLabelValues(w.bucket).Inc()
	w.passed, w.bucketLook, w.helpless = time.Now(), bucketLook{}, 0
	device := writerOf(m.Subject)
	w.r.options.Logger.Error("a bucket was moved past a message that the NATS server refuses to store in it", "reason", ReasonBucketPassed,
		"bucket", w.bucket, "device", device, "sequence", m.Sequence, "subject", m.Subject)
	w.unsaid++
	if time.Since(w.said) < passedPause {
		return
	}
	more := ""
	if w.unsaid > 1 {
		more = fmt.Sprintf(" (%d such messages since the last Event)", w.unsaid)
	}
	w.r.events.Warn(ReasonBucketPassed, "Project", fmt.Sprintf("Bucket %s was moved past message %d of device %s (%s), which the NATS server "+
		"refuses to store in it%s. Nothing else is left out. No agent of the fleet sends such a message: look at the device. See: fleetctl verify",
		w.bucket, m.Sequence, device, m.Subject, more), nil)
	w.said, w.unsaid = time.Now(), 0
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

// revive rebuilds a bucket that nobody has led for some seconds, so that it stalls
// where its replicas ended, and can be moved.
func (w *stallWatch) revive(ctx context.Context) error {
	if w.halted.IsZero() {
		w.halted = time.Now()
	}
	if time.Since(w.halted) < haltTimeout || w.bucket == eventlog.BucketDesired {
		return nil
	}
	w.r.metrics.stalled.WithLabelValues(w.bucket).Set(1)
	err := buckets.Revive(ctx, w.r.js, w.r.bucketConfig(), w.bucket)
	var stall *buckets.StalledError
	switch {
	case errors.Is(err, buckets.ErrUnderWay):
		return nil
	case err != nil && !errors.As(err, &stall):
		w.retry = time.Now().Add(haltTimeout)
		w.r.options.Logger.Warn("a bucket that no server leads could not be rebuilt; will be tried again", "bucket", w.bucket, "error", err)
		return err
	}
	w.halted, w.bucketLook = time.Time{}, bucketLook{}
	w.r.metrics.repairs.WithLabelValues(w.bucket).Inc()
	w.r.options.Logger.Warn("a bucket that no server led was rebuilt", "reason", ReasonBucketRepaired, "bucket", w.bucket)
	w.r.events.Warn(ReasonBucketRepaired, "Rebuild", fmt.Sprintf("Bucket %s was not in service: no server led its replicas. The operator rebuilt it.", w.bucket), nil)
	if stall != nil {
		return w.stalled(ctx, stall.Message)
	}
	return nil
}

// scaleUp gives a bucket its replicas, once it has all there is and nothing was
// passed for some time: with one replica a bad message costs a move, with several a
// rebuild.
func (w *stallWatch) scaleUp(ctx context.Context, is buckets.Service) error {
	if is.Replicas >= w.r.options.Replicas || time.Since(w.passed) < stallRecent {
		return nil
	}
	_, err := buckets.Mend(ctx, w.r.js, w.r.bucketConfig(), w.bucket)
	return err
}
