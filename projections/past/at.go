package past

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Errors of a moment that the log does not reach.
var (
	ErrBeforeBeginning = errors.New("is before the log begins")
	ErrBeyondEnd       = errors.New("is beyond the log's end")
)

// Options say how the past is looked at.
type Options struct {
	// Progress is told how many events were folded and about how many there are.
	// It may be nil.
	Progress func(done, total uint64)
}

// At gives the fleet as the log knew it at a moment.
//
// Errors: ErrBeforeBeginning and ErrBeyondEnd; those of reading the log.
func At(ctx context.Context, js jetstream.JetStream, m Moment, o Options) (*fleet.View, error) {
	last, err := Sequence(ctx, js, m)
	if err != nil {
		return nil, err
	}
	v := fleet.New()
	if last == 0 {
		return v, nil
	}
	for e, err := range eventlog.Read(ctx, js, eventlog.ReadOptions{Until: last, Progress: o.Progress}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return nil, fmt.Errorf("fold the log: %w", err)
		}
		fleet.Apply(v, e, err)
	}
	return v, nil
}

// Sequence is the last sequence of the log that a moment knows of; 0 only for an
// empty log and the moment now.
//
// Errors: ErrBeforeBeginning where the moment is earlier than the first event,
// ErrBeyondEnd where it is a sequence that the log has not reached.
func Sequence(ctx context.Context, js jetstream.JetStream, m Moment) (uint64, error) {
	log, err := eventlog.Log(ctx, js)
	if err != nil {
		return 0, err
	}
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
func lastBefore(ctx context.Context, js jetstream.JetStream, at time.Time, log eventlog.LogInfo) (uint64, error) {
	s, err := eventlog.Authoritative(ctx, js, eventlog.LogStream)
	if err != nil {
		return 0, err
	}
	recorded := func(seq uint64) (time.Time, error) {
		m, err := s.GetMsg(ctx, seq)
		if err != nil {
			return time.Time{}, fmt.Errorf("stream %s: sequence %d: %w", eventlog.LogStream, seq, err)
		}
		return m.Time, nil
	}
	first, err := recorded(log.First)
	if err != nil {
		return 0, err
	}
	if first.After(at) {
		return 0, fmt.Errorf("%s %w, which was at %s", at.Format(time.RFC3339), ErrBeforeBeginning, first.Format(time.RFC3339))
	}
	known, later := log.First, log.Last+1
	for later-known > 1 {
		middle := known + (later-known)/2
		t, err := recorded(middle)
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
