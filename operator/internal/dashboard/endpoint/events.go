package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/internal/dashboard/moments"
	"fleet.nationtech.io/operator/internal/dashboard/respond"
	"fleet.nationtech.io/operator/internal/eventsapi"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/timeline"
)

// What a page of one event reads to tell what it led to, and waits to tell what it changed.
const (
	maxLooked   = 2000 // events after it
	maxEffects  = 50
	effectsTime = 2 * time.Second
)

// eventFilters are the parameters of the list of events that choose events.
var eventFilters = []string{"namespace", "deployment", "device", "type"}

// eventList loads the list of events.
func eventList(ctx context.Context, l *Loader, q Question) (v Shown, err error) {
	v.title = "Events"
	only, err := q.oneOf("only", []string{"wrong"})
	if err != nil {
		return v, err
	}
	before, err := q.number("before")
	if err != nil {
		return v, err
	}
	after, err := q.number("after")
	if err != nil {
		return v, err
	}
	if before > 0 && after > 0 {
		return v, respond.Error{Code: http.StatusBadRequest, Text: "Give one of before and after."}
	}
	asked := url.Values{"order": {"desc"}, "limit": {q.values.Get("limit")}}
	stream := url.Values{}
	for _, name := range eventFilters {
		if value := q.values.Get(name); value != "" {
			asked.Set(name, value)
			stream.Set(name, value)
		}
	}
	if before > 0 {
		asked.Set("before", strconv.FormatUint(before, 10))
	}
	if after > 0 {
		asked.Set("after", strconv.FormatUint(after, 10))
		asked.Set("order", "asc")
	}
	search, err := eventsapi.ParseQuery(asked)
	if err != nil {
		return v, respond.BadRequest(err)
	}
	if only != "" {
		search.Only(func(e *eventlog.Event, foreign error) bool {
			tone := timeline.ToneOf(*e)
			return foreign != nil || tone == timeline.Wrong || tone == timeline.Odd
		}, timeline.TroubleTypes())
	}
	if v.subjects, err = search.Subjects(); err != nil {
		return v, respond.BadRequest(err)
	}
	v.stream, v.still = stream.Encode(), before > 0 || after > 0
	place, err := l.Moments.Place(ctx, q.At)
	if err != nil {
		return v, err
	}
	m := placed(place)
	v.Moment, v.LogID = m, place.LogID
	if m.Sequence == 0 {
		v.Model = model.EventsOf(m, nil)
		return v, nil
	}
	search.Until(m.Sequence)
	release, err := l.Readers.Take(ctx)
	if err != nil {
		return v, err
	}
	defer release()
	part, err := eventsapi.Read(ctx, l.JS, search, model.EventRowOf)
	if err != nil {
		return v, err
	}
	if after > 0 {
		slices.Reverse(part.Rows)
	}
	list := model.EventsOf(m, part.Rows)
	list.Partial = part.Early
	switch {
	case after > 0:
		list.Older, list.Newer = after+1, part.Next
	default:
		list.Older = part.Next
		if before > 0 && len(list.Events) > 0 {
			list.Newer = list.Events[0].Sequence
		}
	}
	v.Model = list
	return v, nil
}

// placed is a moment that was not folded.
func placed(p moments.Place) model.Moment {
	return model.Moment{Sequence: p.Sequence, Recorded: p.Recorded.UTC(), Clock: p.Clock.UTC(), Now: p.Now, AsHappened: p.Happened}
}

// event loads the page of one event.
func event(ctx context.Context, l *Loader, q Question) (v Shown, err error) {
	sequence, err := PathSequence(q.request)
	if err != nil {
		return v, err
	}
	v.title = "Event " + strconv.FormatUint(sequence, 10)
	place, err := l.Moments.Place(ctx, q.At)
	if err != nil {
		return v, err
	}
	m := placed(place)
	v.Moment, v.LogID, v.still = m, place.LogID, true
	if sequence > m.Sequence {
		return v, respond.Errorf(http.StatusNotFound, "The log has no event %d at that moment: it ends with event %d.", sequence, m.Sequence)
	}
	e, foreign := ReadEvent(ctx, l.JS, sequence)
	switch {
	case errors.Is(foreign, jetstream.ErrMsgNotFound):
		return v, respond.Errorf(http.StatusNotFound, "The log has no event %d: it is before the log begins, or damaged on the server's disk.", sequence)
	case foreign != nil && !errors.Is(foreign, eventlog.ErrForeign):
		return v, foreign
	case foreign == nil:
		foreign = eventlog.Check(e)
	}
	out := model.EventOf(m, e, foreign)
	v.subjects = []string{e.Subject}
	if err := l.chain(ctx, e, &v, &out); err != nil {
		return v, err
	}
	if err := l.changed(ctx, sequence, &v, &out); err != nil {
		return v, err
	}
	v.Model = out
	return v, nil
}

// chain reads what led to an event, and what it led to.
func (l *Loader) chain(ctx context.Context, e eventlog.Event, v *Shown, out *model.Event) error {
	release, err := l.Readers.Take(ctx)
	if err != nil {
		return err
	}
	defer release()
	var before []eventlog.Event
	if out.Event.Caused {
		for x, err := range l.events(ctx, e.Sequence-1, timeline.CauseSubjects(e)...) {
			switch {
			case errors.Is(err, errTooLong):
				out.Unread = "The log has more events about the same than a page reads. What went before: " + commandFor(e.Address)
			case err != nil && !errors.Is(err, eventlog.ErrForeign):
				return err
			case err == nil:
				before = append(before, x)
			}
		}
		if out.Unread == "" {
			out.SetCauses(timeline.Causes(before, e))
		}
	}
	return l.effects(ctx, e, v, out)
}

// commandFor is the command that tells the events about what an event is about.
func commandFor(a eventlog.Address) string {
	switch {
	case a.Device != "":
		return "fleetctl log --device " + a.Device
	case a.Namespace != "":
		return "fleetctl log --deployment " + a.Namespace + "/" + a.Name
	}
	return "fleetctl log"
}

// effects reads what an event led to.
func (l *Loader) effects(ctx context.Context, e eventlog.Event, v *Shown, out *model.Event) error {
	until := v.Moment.Sequence
	if e.Sequence >= until {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, effectsTime)
	defer cancel()
	found := timeline.NewEffects(e)
	o := reader.Options{From: e.Sequence + 1, Until: until, Subjects: timeline.EffectSubjects(e), Direct: true, Most: maxLooked / 4}
	for x, err := range reader.Read(limited, l.JS, o) {
		switch {
		case limited.Err() != nil && ctx.Err() == nil:
			v.Early, out.MoreEffects = true, true
			return nil
		case err != nil && !errors.Is(err, eventlog.ErrForeign):
			return err
		}
		out.Looked++
		if depth := found.Add(x); depth > 0 {
			out.AddEffect(&x, err, depth)
		}
		if out.Looked == maxLooked || len(out.Effects) == maxEffects {
			out.MoreEffects = true
			return nil
		}
	}
	return nil
}

// changed tells what an event changed: in what the fleet just before it and just after it differ.
func (l *Loader) changed(ctx context.Context, sequence uint64, v *Shown, out *model.Event) error {
	limited, cancel := context.WithTimeout(ctx, l.FoldTime)
	defer cancel()
	changes, err := l.Moments.Changed(limited, sequence)
	switch {
	case errors.Is(err, asof.ErrBeforeBeginning):
		out.Unfolded = "It is the log's first event: nothing was before it."
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		v.Early = true
		out.Unfolded = fmt.Sprintf("The fleet could not be folded up to there within %s. Load the page again, or follow the comparison.", l.FoldTime)
	case err != nil:
		return err
	}
	out.SetChanges(changes)
	return nil
}
