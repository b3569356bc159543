package tracing

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/trace"
)

// errUnknown says that the log knows no such Deployment.
var errUnknown = errors.New("the log knows no Deployment")

// unknownRunError says that no change has the run that a person asked for.
type unknownRunError struct {
	key   fleet.Key
	run   uint64
	known []uint64
}

func (e unknownRunError) Error() string {
	return fmt.Sprintf("%s has no run #%d; its runs: %s", e.key, e.run, numbers(e.known))
}

// question is which change a person asks about.
type question struct {
	key fleet.Key
	at  asof.Moment
	run uint64 // sequence of the rollout.started of one of its runs; 0: the last change
}

// maxJournals is up to how many devices their journals are asked for by name. Of more
// devices all journals are read: in account PEOPLE each name is a request of its own.
const maxJournals = 16

// readChange derives the spans of a change from the log. It reads the Deployment's own
// events, and of its devices those from the change's beginning to its end.
func readChange(ctx context.Context, js jetstream.JetStream, q question, report func(done, total uint64)) (*Document, error) {
	last, err := asof.Sequence(ctx, js, q.at)
	if err != nil {
		return nil, err
	}
	own := eventlog.DeploymentSubject(q.key.Namespace, q.key.Name)
	events, err := readAll(ctx, js, reader.Options{Until: last, Subjects: []string{own}}, trace.Extent{})
	if err != nil {
		return nil, err
	}
	changes := trace.Changes(q.key, events)
	if len(changes) == 0 {
		return nil, errUnknown
	}
	i, err := choose(changes, q)
	if err != nil {
		return nil, err
	}
	change := changes[i]
	if i+1 < len(changes) { // what came after is of the next change
		last = changes[i+1].From
	}
	given, err := readAll(ctx, js, reader.Options{From: change.From, Until: last, Subjects: []string{eventlog.DesiredSubject(eventlog.Wildcard, q.key.Name)}}, change)
	if err != nil {
		return nil, err
	}
	fold := trace.New(trace.Options{Untraced: true})
	for _, e := range events {
		if e.Sequence < change.From {
			fold.Apply(e) // the ids of a change follow from those before it
		}
	}
	d := newDocument(q.key, change, last)
	o := reader.Options{From: change.From, Until: last, Subjects: append(subjects(q.key, given), own), Progress: report}
	rest, err := readAll(ctx, js, o, change)
	if err != nil {
		return nil, err
	}
	for _, e := range rest {
		if spans := fold.Apply(e); e.Sequence > change.From {
			d.add(spans)
		}
	}
	if change.Ended == 0 {
		d.add(fold.Open())
	}
	return d, nil
}

// readAll reads events, of a change up to the moment from which on it is through.
func readAll(ctx context.Context, js jetstream.JetStream, o reader.Options, of trace.Extent) ([]eventlog.Event, error) {
	if o.Until == 0 {
		return nil, nil // a log without an event
	}
	var all []eventlog.Event
	for e, err := range reader.Read(ctx, js, o) {
		switch {
		case errors.Is(err, eventlog.ErrForeign):
			continue
		case err != nil:
			return nil, err
		case !of.Until.IsZero() && e.Recorded.After(of.Until):
			return all, nil
		}
		all = append(all, e)
	}
	return all, nil
}

// choose gives the place of the change that a person asks about.
func choose(changes []trace.Extent, q question) (int, error) {
	if q.run == 0 {
		return len(changes) - 1, nil
	}
	var known []uint64
	for i, c := range changes {
		if slices.Contains(c.Runs, q.run) {
			return i, nil
		}
		known = append(known, c.Runs...)
	}
	return 0, unknownRunError{q.key, q.run, known}
}

// subjects are where the devices of a change tell what they do.
func subjects(key fleet.Key, given []eventlog.Event) []string {
	out := []string{eventlog.DesiredSubject(eventlog.Wildcard, key.Name), eventlog.StateSubject(eventlog.Wildcard, key.Name)}
	var journals []string
	for _, e := range given {
		if e.Namespace == key.Namespace {
			journals = append(journals, eventlog.AgentSubject(e.Address.Device))
		}
	}
	slices.Sort(journals)
	if journals = slices.Compact(journals); len(journals) > maxJournals {
		journals = []string{eventlog.AgentSubject(eventlog.Wildcard)}
	}
	return append(out, journals...)
}
