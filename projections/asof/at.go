package asof

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

// Errors of a moment that the log does not reach.
var (
	ErrBeforeBeginning = errors.New("is before the log begins")
	ErrBeyondEnd       = errors.New("is beyond the log's end")
)

// Options say how the past is looked at.
type Options struct {
	// AsHappened asks for the fleet as it truly was, where otherwise it is the
	// fleet as the log knew it: what a device could report only later counts from
	// when it happened. See fleet.Happened.
	AsHappened bool
	// NoCheckpoints folds from the log's beginning, whatever is saved.
	NoCheckpoints bool
	// From is a view of the same log that the caller gives away: the fold goes on from it,
	// where it is not later than the moment and no checkpoint saves much. nil: there is none.
	From *fleet.View
	// Skipped is told of a checkpoint that was not used, and why. It may be nil.
	PassedOver func(checkpoint string, why error)
	// Progress is told how many events were folded and about how many there are.
	// It may be nil.
	Progress func(done, total uint64)
}

// At gives the fleet at a moment. A sequence stands for the time at which the log
// recorded it where it is asked what had happened by then.
//
// Errors: ErrBeforeBeginning and ErrBeyondEnd; those of reading the log.
func At(ctx context.Context, js jetstream.JetStream, m Moment, o Options) (*fleet.View, error) {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return nil, err
	}
	last, err := within(ctx, js, m, log)
	if err != nil {
		return nil, err
	}
	if o.AsHappened {
		return happened(ctx, js, log, m, o)
	}
	return AtSequence(ctx, js, log, last, o)
}

// happened folds the whole log, always from its beginning. A checkpoint would not
// do: it is a fold in the log's order, and does not know any more of a report
// that it replaced whether the report had happened later than the one which
// replaced it. Nor may it end at the moment: what comes late stands after it.
func happened(ctx context.Context, js jetstream.JetStream, log logstream.Info, m Moment, o Options) (*fleet.View, error) {
	at := m.Time
	if m.Sequence > 0 {
		var err error
		if at, err = recorded(ctx, js, m.Sequence); err != nil {
			return nil, err
		}
	}
	h := fleet.NewEventTimeView(at)
	if log.Last == 0 {
		return h.View(), nil
	}
	for e, err := range reader.Read(ctx, js, reader.Options{Until: log.Last, LogID: log.ID, Progress: o.Progress}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return nil, fmt.Errorf("fold the log: %w", err)
		}
		h.Add(e, err)
	}
	return h.View(), nil
}

// recorded is when the log recorded one of its sequences.
func recorded(ctx context.Context, js jetstream.JetStream, sequence uint64) (time.Time, error) {
	m, err := reader.MessageAt(ctx, js, eventlog.LogStream, sequence)
	if err != nil {
		return time.Time{}, err
	}
	return m.Time, nil
}

// AtSequence gives the fleet as a log knew it at one of its sequences. It fails with
// eventlog.ErrLogReset where that log is not there any more, and with the errors
// of reading.
func AtSequence(ctx context.Context, js jetstream.JetStream, log logstream.Info, last uint64, o Options) (*fleet.View, error) {
	v := o.begin(ctx, js, log.ID, last)
	if v.Sequence >= last {
		return v, nil
	}
	read := reader.Options{After: v.Position(), Until: last, LogID: log.ID, Progress: o.Progress}
	for e, err := range reader.Read(ctx, js, read) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return nil, fmt.Errorf("fold the log: %w", err)
		}
		fleet.Apply(v, e, err)
	}
	return v, nil
}

// Follow gives a follower of the fleet from now on, which the caller runs; it is
// up to date once it has passed the sequence that is given with it. It fails
// with the error of asking the log.
func Follow(ctx context.Context, js jetstream.JetStream, o Options) (f *fleet.Follower, last uint64, err error) {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return nil, 0, err
	}
	v := o.begin(ctx, js, log.ID, log.Last)
	return fleet.Resume(v, func(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Event, error] {
		return reader.Follow(ctx, js, reader.Options{After: after, LogID: log.ID})
	}), log.Last, nil
}

// begin gives the view that a fold up to a sequence goes on from.
func (o Options) begin(ctx context.Context, js jetstream.JetStream, logID string, last uint64) *fleet.View {
	from := o.From
	if from == nil || from.Sequence > last {
		from = fleet.New()
	}
	// A checkpoint costs to read what a fold of some thousand events does.
	if o.NoCheckpoints || o.From == from && last-from.Sequence < checkpoint.DefaultEvents {
		return from
	}
	if v := (checkpoint.Store{JS: js, Skipped: o.PassedOver}).Nearest(ctx, logID, last); v != nil && v.Sequence > from.Sequence {
		return v
	}
	return from
}

// Sequence is the last sequence of the log that a moment knows of; 0 only for an
// empty log and the moment now.
//
// Errors: ErrBeforeBeginning where the moment is earlier than the first event,
// ErrBeyondEnd where it is a sequence that the log has not reached.
func Sequence(ctx context.Context, js jetstream.JetStream, m Moment) (uint64, error) {
	log, err := logstream.Inspect(ctx, js)
	if err != nil {
		return 0, err
	}
	return within(ctx, js, m, log)
}

// within is Sequence for a log that was asked about itself.
func within(ctx context.Context, js jetstream.JetStream, m Moment, log logstream.Info) (uint64, error) {
	switch {
	case m.IsNow():
		return log.Last, nil
	case m.Sequence > log.Last:
		return 0, fmt.Errorf("sequence %d %w, which is %d", m.Sequence, ErrBeyondEnd, log.Last)
	case m.Sequence > 0 && m.Sequence < log.First:
		return 0, fmt.Errorf("sequence %d %w, which is at %d", m.Sequence, ErrBeforeBeginning, log.First)
	case m.Sequence > 0:
		return m.Sequence, nil
	case log.Last == 0:
		return 0, fmt.Errorf("%s %w: it is empty", m, ErrBeforeBeginning)
	}
	return lastBefore(ctx, js, m.Time, log)
}

// lastBefore is the last sequence that was recorded at or before a time: the one
// before the first that is later, by halving.
func lastBefore(ctx context.Context, js jetstream.JetStream, at time.Time, log logstream.Info) (uint64, error) {
	first, err := recorded(ctx, js, log.First)
	if err != nil {
		return 0, err
	}
	if first.After(at) {
		return 0, fmt.Errorf("%s %w, which was at %s", at.Format(time.RFC3339), ErrBeforeBeginning, first.Format(time.RFC3339))
	}
	known, later := log.First, log.Last+1
	for later-known > 1 {
		middle := known + (later-known)/2
		t, err := recorded(ctx, js, middle)
		if err != nil {
			return 0, err
		}
		if t.After(at) {
			later = middle
		} else {
			known = middle
		}
	}
	return known, nil
}
