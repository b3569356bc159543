package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
)

// Log is the source that reads a real log.
type Log struct {
	JS          jetstream.JetStream
	ID          string // of the log, so that no other is played on with
	First, Last uint64 // the log's first sequence, and the last that is played
	// Subjects narrow what is read; none means all. Rollouts are looked for on
	// RolloutSubjects.
	Subjects        []string
	RolloutSubjects []string
	// Sees says what the person asked for. foreign is why the message is none of
	// the fleet's, or nil.
	Sees func(e eventlog.Event, foreign error) bool
}

var _ Source = (*Log)(nil)

// Play yields the frames after a sequence, to the last.
func (l *Log) Play(ctx context.Context, after uint64) iter.Seq2[Frame, error] {
	return l.read(ctx, after, l.Subjects)
}

func (l *Log) read(ctx context.Context, after uint64, subjects []string) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		if after >= l.Last {
			return
		}
		for e, err := range reader.Read(ctx, l.JS, reader.Options{From: after + 1, Until: l.Last, Subjects: subjects, LogID: l.ID}) {
			if err != nil && !errors.Is(err, eventlog.ErrForeign) {
				yield(Frame{}, err)
				return
			}
			if !yield(Frame{Event: e, Foreign: err, Seen: l.Sees(e, err)}, nil) {
				return
			}
		}
	}
}

// Frames reads at most maxFrames of the log.
func (l *Log) Frames(ctx context.Context, after uint64, maxFrames int) ([]Frame, bool, error) {
	var frames []Frame
	for f, err := range l.Play(ctx, after) {
		if err != nil {
			return nil, false, fmt.Errorf("read the log after %d: %w", after, err)
		}
		if frames = append(frames, f); len(frames) == maxFrames {
			return frames, f.Sequence >= l.Last, nil
		}
	}
	return frames, true, nil
}

// View folds the log up to a sequence.
func (l *Log) View(ctx context.Context, sequence uint64) (*fleet.View, error) {
	return l.Before(ctx, sequence, nil)
}

// Before folds the log up to a sequence, and tells how far that is. Before the
// log's first one there is no fleet.
func (l *Log) Before(ctx context.Context, sequence uint64, progress func(done, total uint64)) (*fleet.View, error) {
	if sequence < l.First {
		return fleet.New(), nil
	}
	return asof.At(ctx, l.JS, asof.Moment{Sequence: sequence}, asof.Options{Progress: progress})
}

// Rollouts reads where rollouts begin.
func (l *Log) Rollouts(ctx context.Context) ([]uint64, error) {
	var out []uint64
	for f, err := range l.read(ctx, 0, l.RolloutSubjects) {
		if err != nil {
			return nil, fmt.Errorf("look for rollouts: %w", err)
		}
		if f.Type == eventlog.RolloutStarted && f.Foreign == nil && f.Seen {
			out = append(out, f.Sequence)
		}
	}
	return out, nil
}
