package eventsapi

import (
	"context"
	"maps"
	"net/url"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
)

// Query is what other parts of the same process ask of the log.
type Query struct{ q query }

// ParseQuery reads the parameters of a request. Its errors are sentences for the person who
// asked.
func ParseQuery(values url.Values) (Query, error) {
	q, err := parse(values)
	return Query{q}, err
}

// Until leaves out what comes after a sequence of the log.
func (q *Query) Until(sequence uint64) {
	if q.q.to == 0 || sequence < q.q.to {
		q.q.to = sequence
	}
}

// Only leaves out the events of which a function does not say that they are wanted. Where the
// query names no types, types are those of which there may be such events. The function is
// given the error that decoding the event gave.
func (q *Query) Only(wanted func(*eventlog.Event, error) bool, types []eventlog.Type) {
	q.q.only = wanted
	if len(q.q.types) > 0 || len(q.q.prefixes) > 0 {
		return
	}
	q.q.types = map[eventlog.Type]struct{}{}
	for _, t := range types {
		q.q.types[t] = struct{}{}
	}
}

// Subjects are those of the log on which the events are; none means all. It fails with
// ErrNothing.
func (q *Query) Subjects() ([]string, error) { return q.q.subjects() }

// Read gives a page of the events that a query asks for, with what a function takes of each.
//
// Errors: ErrNothing where no event can be what is asked for, ErrTooSlow where the search is
// too wide; those of reading the log.
func Read[T any](ctx context.Context, js jetstream.JetStream, q Query, take func(*eventlog.Event, error) T) (Page[T], error) {
	where, err := locate(ctx, js, &q.q)
	if err != nil {
		return Page[T]{}, err
	}
	return readPage(ctx, js, where, &q.q, func(e *eventlog.Event, err error) (T, int) { return take(e, err), 0 })
}

// Parameters are the names of the parameters of a request.
func Parameters() []string { return slices.Sorted(maps.Keys(parameters)) }
