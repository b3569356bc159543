package examine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/attention"
)

// Present gathers how log and buckets are, for attention. It fails where the log cannot
// be asked; a bucket that cannot be asked is left out.
func Present(ctx context.Context, js jetstream.JetStream, now func() time.Time) (attention.Facts, error) {
	l := look{Servers: Servers{JS: js, Now: now}}
	var err error
	if l.stream, err = logstream.Inspect(ctx, js); err != nil {
		return attention.Facts{}, err
	}
	f := attention.Facts{Log: attention.SizeOf(l.stream)}
	for _, name := range eventlog.Buckets() {
		if err := l.bucket(ctx, name); err != nil {
			continue
		}
	}
	for _, b := range l.Buckets {
		if !b.Kept(now()) {
			f.Buckets = append(f.Buckets, b.Bucket)
		}
	}
	return f, nil
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
