package query

import (
	"context"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/timeline"
)

// excerpt is the part of the log that answers a question about the past: a few
// subjects, up to a moment. The server sends no more than that.
type excerpt struct {
	Events  iter.Seq2[eventlog.Event, error]
	Options timeline.Options
}

// ReadExcerpt finds a moment's excerpt. report receives how much of it is read.
func ReadExcerpt(ctx context.Context, js jetstream.JetStream, m Moment, subjects []string, report func(done, total uint64)) (excerpt, error) {
	last, err := asof.Sequence(ctx, js, m.Moment)
	if err != nil {
		return excerpt{}, err
	}
	x := excerpt{Options: timeline.Options{AsHappened: m.AsHappened, AsOf: last}}
	o := reader.Options{Subjects: subjects, Until: last, Progress: report}
	if m.AsHappened {
		// The log may have recorded much later what had happened by then.
		o.Until = 0
		if x.Options.Until, err = timeOf(ctx, js, m.Moment); err != nil {
			return excerpt{}, err
		}
	}
	if last == 0 {
		x.Events = func(func(eventlog.Event, error) bool) {}
		return x, nil
	}
	x.Events = reader.Read(ctx, js, o)
	return x, nil
}
