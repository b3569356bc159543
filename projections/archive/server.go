package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// Errors of a server that an archive cannot be restored into.
var (
	// ErrLogThere says that there is a log with events of its own.
	ErrLogThere = errors.New("this server has a log already")
	// ErrGoneOn says that the archive was restored there, and the log went on.
	ErrGoneOn = errors.New("this archive was restored here already, and the log has gone on since")
	// ErrBucketsThere says that there are buckets of another log.
	ErrBucketsThere = errors.New("this server has buckets of another log")
)

// stage is how far a server has come with an archive.
type stage int

const (
	empty       stage = iota // no log, or one that holds nothing but elections and seals
	half                     // a restore was cut short: what is there is worth nothing
	whole                    // all of the log is there, and not in service
	inService                // what is left is to build the buckets
	differently              // it must be left alone
)

// survey looks at what a server has, and says why it must be left alone.
func survey(ctx context.Context, js jetstream.JetStream, m Index) (stage, error) {
	s, err := js.Stream(ctx, eventlog.LogStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return empty, strangers(ctx, js, m, "")
	}
	if err != nil {
		return differently, fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
	}
	i := s.CachedInfo()
	switch restoring := logstream.RestoringArchive(i.Config); {
	case restoring == m.ID && holds(i.State, m) == nil:
		return whole, nil
	case restoring != "":
		return half, nil
	}
	info, err := logstream.Inspect(ctx, js)
	switch {
	case err != nil:
		return differently, err
	case info.Restored.Archive == m.ID && info.Last == m.Last.Sequence:
		return inService, nil
	case info.Restored.Archive == m.ID:
		return differently, fmt.Errorf("log %s, up to event %d: %w", info.ID, info.Last, ErrGoneOn)
	}
	mere, err := merelyLed(ctx, s)
	if err != nil {
		return differently, err
	}
	if !mere {
		return differently, fmt.Errorf("log %s, with %d events: %w", info.ID, i.State.Msgs, ErrLogThere)
	}
	return empty, strangers(ctx, js, m, info.ID)
}

// merelyLed says whether a log holds nothing but what an operator writes into an
// empty one by itself: that it leads, and seals of that.
func merelyLed(ctx context.Context, s jetstream.Stream) (bool, error) {
	for {
		before, err := s.Info(ctx)
		if err != nil {
			return false, fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
		}
		var n uint64
		for _, subject := range []string{eventlog.LeaderSubject, eventlog.SealSubject} {
			i, err := s.Info(ctx, jetstream.WithSubjectFilter(subject))
			if err != nil {
				return false, fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
			}
			n += i.State.Subjects[subject]
		}
		after, err := s.Info(ctx)
		if err != nil {
			return false, fmt.Errorf("stream %s: %w", eventlog.LogStream, err)
		}
		// A log that was made while its forerunner was being removed can have lost
		// what it counts by subject, so it may hold less.
		if before.State.LastSeq == after.State.LastSeq { // else it grew while it was counted
			return after.State.Msgs <= n, nil
		}
	}
}

// strangers fails where there are buckets with what neither the archived log nor
// the present one wrote: then this is another fleet's server.
func strangers(ctx context.Context, js jetstream.JetStream, m Index, present string) error {
	var strange []string
	for _, b := range eventlog.Buckets() {
		if b == eventlog.BucketHeartbeat {
			continue // pulses come without a log
		}
		s, err := js.Stream(ctx, eventlog.BucketStream(b))
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("bucket %s: %w", b, err)
		}
		i := s.CachedInfo()
		if id := logstream.IDOf(i.Config); i.State.Msgs > 0 && id != m.LogID && (id != present || present == "") {
			strange = append(strange, b)
		}
	}
	if len(strange) > 0 {
		return fmt.Errorf("%s: %w", strings.Join(strange, ", "), ErrBucketsThere)
	}
	return nil
}

// sweep takes away what a log's projections were kept in: they are made again from
// whatever log there will be.
func sweep(ctx context.Context, js jetstream.JetStream) error {
	names := []string{eventlog.ObjectStream(eventlog.BucketCheckpoints)}
	for _, b := range eventlog.Buckets() {
		names = append(names, eventlog.BucketStream(b))
	}
	for _, n := range names {
		if err := js.DeleteStream(ctx, n); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove stream %s: %w", n, err)
		}
	}
	return nil
}

// holds compares what a stream says of itself with what it should hold.
func holds(s jetstream.StreamState, m Index) error {
	if s.Msgs != m.Messages || s.FirstSeq != m.First.Sequence || s.LastSeq != m.Last.Sequence ||
		!s.FirstTime.Equal(m.First.Time) || !s.LastTime.Equal(m.Last.Time) {
		return fmt.Errorf("the stream holds %d events, from %d (%s) to %d (%s); the archive has %d, from %d (%s) to %d (%s)",
			s.Msgs, s.FirstSeq, s.FirstTime, s.LastSeq, s.LastTime,
			m.Messages, m.First.Sequence, m.First.Time, m.Last.Sequence, m.Last.Time)
	}
	return nil
}
