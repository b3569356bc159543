package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
)

// buffer holds events that cannot be shown as they come: the last few of them, or all
// of them, to be shown in another order.
type buffer struct {
	tail       int // 0: all
	asHappened bool
	since      time.Time // as it happened; zero: from the beginning
	until      time.Time // as it happened; zero: to the end

	held []held
	next int // of held, once it is full: the index of the oldest
}

type held struct {
	event    eventlog.Event
	foreign  error
	happened time.Time
}

// each gives the events that are selected, until one of them cannot be taken.
func each(events iter.Seq2[eventlog.Event, error], sel Selection, take func(eventlog.Event, error) error) error {
	for e, err := range events {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		if err == nil {
			err = eventlog.Check(e)
		}
		sel.namespaces.add(e, err)
		if !sel.Match(e, err) {
			continue
		}
		if err := take(e, err); err != nil {
			return err
		}
	}
	return nil
}

// bound makes the buffer one of what happened in the interval: nothing is recorded
// before it happened, so reading begins where the interval does; what is recorded late
// stands after the interval's end, so reading goes on to the log's end.
func (w Interval) bound(ctx context.Context, js jetstream.JetStream, in *buffer, o *reader.Options, last uint64) error {
	in.asHappened = true
	var err error
	if in.since, err = timeOf(ctx, js, w.Since); err != nil {
		return err
	}
	in.until, err = timeOf(ctx, js, w.Until)
	o.Until = last
	return err
}

func (w *buffer) add(e eventlog.Event, foreign error) error {
	h := held{event: e, foreign: foreign}
	if w.asHappened {
		h.happened = e.EventTime()
		if h.happened.Before(w.since) || !w.until.IsZero() && h.happened.After(w.until) {
			return nil
		}
	}
	if w.tail == 0 || w.asHappened || len(w.held) < w.tail {
		w.held = append(w.held, h)
		return nil
	}
	w.held[w.next] = h
	w.next = (w.next + 1) % w.tail
	return nil
}

// each gives what is held, in order.
func (w *buffer) each(emit func(eventlog.Event, error) error) error {
	all := slices.Concat(w.held[w.next:], w.held[:w.next])
	if w.asHappened {
		slices.SortStableFunc(all, func(a, b held) int {
			return cmp.Or(a.happened.Compare(b.happened), cmp.Compare(a.event.Sequence, b.event.Sequence))
		})
		if w.tail > 0 {
			all = all[max(0, len(all)-w.tail):]
		}
	}
	for _, h := range all {
		if err := emit(h.event, h.foreign); err != nil {
			return err
		}
	}
	return nil
}

// Interval is which part of the log is shown, and how.
type Interval struct {
	Since, Until asof.Moment // zero: from the beginning, to the end
	AsHappened   bool
	Tail         int // 0: all
	Follow       bool
}

// Read gives the selected events of the interval, in its order.
func (w Interval) Read(ctx context.Context, js jetstream.JetStream, sel Selection, report func(done, total uint64), done func(), emit func(eventlog.Event, error) error) error {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return err
	}
	if err := sel.ResolveNamespaces(ctx, js, log.Last); err != nil {
		return err
	}
	o := reader.Options{From: w.Since.Sequence, Since: w.Since.Time, Subjects: sel.Subjects(), LogID: log.ID, Progress: report}
	if w.Until.IsNow() {
		o.Until = log.Last
	} else if o.Until, err = asof.Sequence(ctx, js, w.Until); err != nil {
		return err
	}
	if w.Since.Sequence > log.Last {
		return fmt.Errorf("sequence %d %w, which is %d", w.Since.Sequence, asof.ErrBeyondEnd, log.Last)
	}
	in := buffer{tail: w.Tail}
	if w.AsHappened {
		if err := w.bound(ctx, js, &in, &o, log.Last); err != nil {
			return err
		}
	} else if w.Tail > 0 && sel.all() && log.Last > uint64(w.Tail) {
		if from := o.Until + 1 - min(uint64(w.Tail), o.Until); from > o.From && w.Since.Time.IsZero() {
			o.From = from // no need to read what is not the last
		}
	}
	take := emit
	if w.Tail > 0 || w.AsHappened {
		take = in.add
	}
	if o.Until > 0 {
		if err := each(reader.Read(ctx, js, o), sel, take); err != nil {
			return err
		}
	}
	done()
	if err := in.each(emit); err != nil {
		return err
	}
	if !w.Follow {
		return nil
	}
	o.From, o.Since = max(o.From, log.Last+1), time.Time{}
	return each(reader.Follow(ctx, js, o), sel, emit)
}
