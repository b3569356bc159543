package examine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/attention"
)

// Present gathers how log and buckets are, for attention, and how far the servers' clock is
// ahead of this machine's: what is wrong for how long is told by the servers' clock. It
// fails where the log cannot be asked; a bucket that cannot be asked is left out.
func Present(ctx context.Context, js jetstream.JetStream, now func() time.Time) (f attention.Facts, ahead time.Duration, err error) {
	l := look{Servers: Servers{JS: js, Now: now}, Facts: doctor.Facts{Server: &doctor.Server{}}}
	asked := now()
	stream, err := js.Stream(ctx, eventlog.LogStream)
	if err == nil {
		l.clock(asked, now(), stream.CachedInfo().TimeStamp)
		l.stream, err = logstream.Inspect(ctx, js)
	}
	if err != nil {
		return f, 0, err
	}
	f.Log = attention.SizeOf(l.stream)
	for _, name := range eventlog.Buckets() {
		if err := l.bucket(ctx, name); err != nil {
			continue
		}
	}
	ahead = l.Server.Ahead
	for _, b := range l.Buckets {
		if !b.Kept(now().Add(ahead)) {
			f.Buckets = append(f.Buckets, b.Bucket)
		}
	}
	return f, ahead, nil
}

// Habits reads for how long devices are away usually.
func Habits(ctx context.Context, js jetstream.JetStream, now time.Time) (map[string]time.Duration, error) {
	h := attention.NewHabits()
	for e, err := range reader.Read(ctx, js, reader.Options{Subjects: attention.HabitSubjects(), Since: now.Add(-attention.HabitSpan)}) {
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
