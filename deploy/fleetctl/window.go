package fleetctl

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// window holds events that cannot be shown as they come: the last few of them,
// or all of them, to be shown in another order.
type window struct {
	tail       int // 0: all
	asHappened bool
	since      time.Time // as it happened; zero: from the beginning
	until      time.Time // as it happened; zero: to the end

	held []held
	next int // of held, once it is full: the place of the oldest
}

type held struct {
	event    eventlog.Event
	foreign  error
	happened time.Time
}

// each gives the events that are selected, until one of them cannot be taken.
func each(events iter.Seq2[eventlog.Event, error], sel selection, take func(eventlog.Event, error) error) error {
	for e, err := range events {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		if err == nil {
			err = eventlog.Check(e)
		}
		sel.tenants.learn(e, err)
		if !sel.match(e, err) {
			continue
		}
		if err := take(e, err); err != nil {
			return err
		}
	}
	return nil
}

// bound makes the window one over what happened in a stretch: nothing is recorded
// before it happened, so reading begins where the stretch does; what is recorded
// late stands after its end, so reading goes on to the log's.
func (w stretch) bound(ctx context.Context, js jetstream.JetStream, in *window, o *reader.Options, last uint64) error {
	in.asHappened = true
	var err error
	if in.since, err = timeOf(ctx, js, w.since); err != nil {
		return err
	}
	in.until, err = timeOf(ctx, js, w.until)
	o.Until = last
	return err
}

func (w *window) add(e eventlog.Event, foreign error) error {
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
func (w *window) each(emit func(eventlog.Event, error) error) error {
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
