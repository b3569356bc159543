package endpoint

import (
	"context"
	"errors"
	"iter"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/projections/timeline"
)

// axisOf is how a history is told on a page's axis of time.
func axisOf(m model.Moment) timeline.Options {
	o := timeline.Options{AsOf: m.Sequence, AsHappened: m.AsHappened}
	if m.AsHappened {
		o.Until = m.Clock
	}
	return o
}

// until is the last sequence that a page of a moment has to do with: what had happened by then
// may stand anywhere behind it.
func (l *Loader) until(ctx context.Context, m model.Moment) (uint64, error) {
	if !m.AsHappened {
		return m.Sequence, nil
	}
	last, _, err := l.Moments.Sequence(ctx)
	return last, err
}

// eventsOn gives the events on some subjects of which a page tells, and notes the last of them where
// those after its moment are not among them.
func (l *Loader) eventsOn(ctx context.Context, v *Shown, subjects []string) (iter.Seq2[eventlog.Event, error], error) {
	until, err := l.until(ctx, v.Moment)
	if err != nil {
		return nil, err
	}
	events := l.events(ctx, until, subjects...)
	if v.Moment.AsHappened {
		return events, nil
	}
	return v.read.note(events, subjects), nil
}

// eventsAbout is eventsOn for the events about a device.
func (l *Loader) eventsAbout(ctx context.Context, v *Shown, id string) (iter.Seq2[eventlog.Event, error], error) {
	until, err := l.until(ctx, v.Moment)
	if err != nil {
		return nil, err
	}
	all := l.events(ctx, until, eventlog.AboutDeviceSubjects(id)...)
	own := func(yield func(eventlog.Event, error) bool) {
		for e, err := range all {
			if e.Sequence > 0 && e.Address.Device != id {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
	if v.Moment.AsHappened {
		return own, nil
	}
	return v.read.note(own, v.subjects), nil
}

// untilClock leaves out the events that happened after a moment as it happened.
func untilClock(m model.Moment, events iter.Seq2[eventlog.Event, error]) iter.Seq2[eventlog.Event, error] {
	if !m.AsHappened {
		return events
	}
	return func(yield func(eventlog.Event, error) bool) {
		for e, err := range events {
			if e.Sequence > 0 && e.EventTime().After(m.Clock) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// events reads the events on some subjects up to a sequence. More than a page reads end with
// errTooLong.
func (l *Loader) events(ctx context.Context, until uint64, subjects ...string) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		count, bytes := 0, 0
		for e, err := range l.Moments.Events(ctx, until, subjects...) {
			count++
			bytes += len(e.Data)
			if count > l.MaxEvents || bytes > l.MaxBytes {
				yield(eventlog.Event{}, errTooLong)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// lastTwo are the two last events on some subjects that were read; 0: there is none.
type lastTwo struct {
	subjects       []string
	before, newest uint64
}

// readEvent is an event that was read, with the error that decoding it gave.
type readEvent struct {
	event eventlog.Event
	err   error
}

// readAll reads all events. It fails with the first error that is not about one of them alone.
func readAll(events iter.Seq2[eventlog.Event, error]) ([]readEvent, error) {
	var out []readEvent
	for e, err := range events {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return nil, err
		}
		out = append(out, readEvent{e, err})
	}
	return out, nil
}

// replay gives events that were read once more.
func replay(all []readEvent) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		for _, t := range all {
			if !yield(t.event, t.err) {
				return
			}
		}
	}
}

// merge gives events that were read before and others, in the log's order.
func merge(all []readEvent, others iter.Seq2[eventlog.Event, error]) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		rest := all
		for e, err := range others {
			for len(rest) > 0 && e.Sequence > 0 && rest[0].event.Sequence < e.Sequence {
				if !yield(rest[0].event, rest[0].err) {
					return
				}
				rest = rest[1:]
			}
			if !yield(e, err) {
				return
			}
		}
		for _, t := range rest {
			if !yield(t.event, t.err) {
				return
			}
		}
	}
}

// note gives events on some subjects, and notes the last of them.
func (l *lastTwo) note(events iter.Seq2[eventlog.Event, error], subjects []string) iter.Seq2[eventlog.Event, error] {
	l.subjects = subjects
	return func(yield func(eventlog.Event, error) bool) {
		for e, err := range events {
			if e.Sequence > 0 {
				l.before, l.newest = l.newest, e.Sequence
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
