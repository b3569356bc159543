package fleetctl

import (
	"context"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/timeline"
)

// part is the part of the log that answers a question about the past: a few
// subjects, up to a moment. The server sends no more than that.
type part struct {
	events   iter.Seq2[eventlog.Event, error]
	options  timeline.Options
	progress *progress
}

// part finds a moment's part of the log. Whoever reads it ends the progress.
func (c *connection) part(ctx context.Context, s Streams, js jetstream.JetStream, m moment, subjects []string) (part, error) {
	last, err := asof.Sequence(ctx, js, m.Moment)
	if err != nil {
		return part{}, err
	}
	p := part{options: timeline.Options{AsHappened: m.AsHappened, Upto: last}, progress: s.progress("reading the log")}
	o := reader.Options{Subjects: subjects, Until: last, Progress: p.progress.report}
	if m.AsHappened {
		// What had happened by then may have been told much later.
		o.Until = 0
		if p.options.Until, err = timeOf(ctx, js, m.Moment); err != nil {
			return part{}, err
		}
	}
	if last == 0 {
		p.events = func(func(eventlog.Event, error) bool) {}
		return p, nil
	}
	p.events = reader.Read(ctx, js, o)
	return p, nil
}
