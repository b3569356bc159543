// Package present asks the NATS servers for what attention wants to know beside the fold of
// the log: how log, buckets and the servers' certificate are, and for how long devices are used to be
// away. It asks an operator how far it has folded the log.
package present

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/buckets"
)

// patience is how long one question to the servers may take.
const patience = 10 * time.Second

// Look gathers how log, buckets and the servers' certificate are, and how far the servers' clock is ahead of this
// machine's: what is wrong for how long is told by the servers' clock. It fails where the log
// cannot be asked; a bucket that cannot be asked is left out.
func Look(ctx context.Context, js jetstream.JetStream, now func() time.Time) (f attention.Facts, ahead time.Duration, err error) {
	asked := now()
	stream, err := js.Stream(ctx, eventlog.LogStream)
	if err != nil {
		return f, 0, err
	}
	ahead, _ = Ahead(asked, now(), stream.CachedInfo().TimeStamp)
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return f, 0, err
	}
	f.Log = attention.SizeOf(log)
	f.Certificate = Certificate(ctx, js.Conn(), now().Add(ahead))
	for _, name := range eventlog.Buckets() {
		b, _, err := Bucket(ctx, js, log, name)
		if err == nil && !b.Kept(now().Add(ahead)) {
			f.Buckets = append(f.Buckets, b)
		}
	}
	return f, ahead, nil
}

// Ahead compares the clocks: the server said its time between two moments of this machine. It
// is ahead by so much, and blur is how far that may be wrong; both are 0 where it said none.
func Ahead(asked, answered, said time.Time) (ahead, blur time.Duration) {
	if said.IsZero() {
		return 0, 0
	}
	blur = answered.Sub(asked) / 2
	return said.Sub(asked.Add(blur)), blur
}

// Bucket looks at one of the buckets of a log, and at how many replicas it has.
func Bucket(ctx context.Context, js jetstream.JetStream, log logstream.Info, name string) (b attention.Bucket, replicas int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	is, err := buckets.Inspect(ctx, js, buckets.Config{Replicas: log.Replicas}, name, log.ID)
	if err != nil {
		return b, 0, err
	}
	b = attention.Bucket{Name: name, Finding: is.Finding}
	if is.Finding == buckets.Sound {
		m, err := buckets.Lacks(ctx, js, name)
		switch {
		case errors.Is(err, buckets.ErrUnreadable):
			b.Unreadable = err.Error()
		case err != nil:
			return b, 0, err
		case m != nil:
			b.Lacks, b.Since = m.Sequence, m.Time
		}
	}
	return b, is.Replicas, nil
}

// Habits reads for how long devices are away usually, out of the last attention.HabitSpan
// before a time by the servers' clock.
func Habits(ctx context.Context, js jetstream.JetStream, at time.Time) (map[string]time.Duration, error) {
	h := attention.NewHabits()
	for e, err := range reader.Read(ctx, js, reader.Options{Subjects: attention.HabitSubjects(), Since: at.Add(-attention.HabitSpan)}) {
		if errors.Is(err, eventlog.ErrForeign) {
			continue
		}
		if err != nil {
			return nil, err
		}
		h.Add(e)
	}
	return h.Longest(), nil
}
