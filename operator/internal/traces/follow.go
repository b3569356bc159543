package traces

import (
	"context"
	"errors"
	"sync"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
	spans "fleet.nationtech.io/projections/trace"
)

const (
	// retry is how long a log that cannot be read is left alone.
	retry = time.Second
	// overlap is how far before the last sign of life of the leader before this one exports
	// spans again: it may have had them in its queue when it died.
	overlap = time.Minute
	// maxHeld bounds the spans that are kept until the replica's own election was read.
	maxHeld = 4 * maxQueue
)

// Lead exports the spans of the log until the context ends. token is the sequence of the
// replica's election.
func (t *Traces) Lead(ctx context.Context, token uint64) {
	if t == nil {
		return
	}
	for ctx.Err() == nil {
		err := t.follow(ctx, token)
		if ctx.Err() != nil {
			return
		}
		t.options.Logger.Warn("the operator cannot follow the event log for its traces; it tries again", "error", err, "after", retry)
		timer := time.NewTimer(retry)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// follow folds the changes that go on, from where the oldest of them began, and exports the
// spans that end from now on. Those that ended since the leader before was last heard of
// are exported too: it may not have come to it. As their ids follow from the log, a span that
// is exported twice is the same one.
func (t *Traces) follow(ctx context.Context, token uint64) error {
	log, err := logstream.Inspect(ctx, t.options.JS)
	if err != nil {
		return err
	}
	t.mu.Lock()
	if t.logID != log.ID || t.last > log.Last {
		t.logID, t.last = log.ID, 0
	}
	last := t.last
	t.mu.Unlock()

	from := t.begin(token)
	fold := spans.New(spans.Options{Devices: t.options.Devices, Assignments: t.options.Assignments})
	t.options.State.Do(func(s *decide.State) { fold.Continue(s.View(), from) })
	counted := uint64(0) // of what the fold dropped
	var held []spans.Span
	var alive time.Time // when a leader was last heard of
	elected := false
	for e, err := range reader.Follow(ctx, t.options.JS, reader.Options{From: from, LogID: log.ID}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		var ended []spans.Span
		if err == nil {
			ended = fold.Apply(e)
		}
		if e.Sequence <= last {
			counted = fold.Dropped()
			continue // this replica exported and counted them before
		}
		switch {
		case elected:
			t.exportAll(ended)
		case e.Sequence >= token:
			elected = true
			t.exportAll(since(append(held, ended...), alive.Add(-overlap)))
			held = nil
		default:
			held = append(held, ended...)
			if n := len(held) - maxHeld; n > 0 {
				held = held[n:]
			}
			if !e.Address.Family.OfDevices() {
				alive = e.Recorded
			}
		}
		if elected {
			t.advance(e.Sequence, fold.Dropped()-counted)
			counted = fold.Dropped()
		}
	}
	return ctx.Err()
}

// begin is the first event of the changes and deletions that go on.
func (t *Traces) begin(token uint64) uint64 {
	from := token
	t.options.State.Do(func(s *decide.State) {
		now := s.View().Clock
		held := sync.OnceValue(func() map[fleet.Key]bool { return heldAfterDeletion(s.View()) }) // it looks at all devices
		for key, d := range s.View().Deployments {
			if d.Lifecycle == fleet.Deleted {
				if at := d.Changed.At; at.After(now.Add(-overlap)) || at.After(now.Add(-spans.MaxAge)) && held()[key] {
					from = min(from, d.Changed.Sequence)
				}
				continue
			}
			if d.Trace.Context != "" && d.Trace.Begun.At.After(now.Add(-spans.MaxAge)) && goesOn(d, now) {
				from = min(from, d.Trace.Begun.Sequence)
			}
		}
	})
	return max(1, from)
}

// goesOn says whether a Deployment's change goes on, or was through a moment ago. One that
// began no run goes on while a device has to report.
func goesOn(d *fleet.Deployment, now time.Time) bool {
	return !d.Through() || throughAt(d).After(now.Add(-overlap)) || d.Run.ID < d.Applied.Sequence && d.Counts.Pending > 0
}

// heldAfterDeletion are the Deployments that were deleted and that a device still reports.
func heldAfterDeletion(v *fleet.View) map[fleet.Key]bool {
	held := map[fleet.Key]bool{}
	for _, dev := range v.Devices {
		for p := range dev.Assignments {
			if p.Withdrawn() && p.Reported.Sequence > 0 && !p.Gone {
				held[*p.Key] = true
			}
		}
	}
	return held
}

// throughAt is when the change of a Deployment was through: its run ended, or where it
// began none, its spec came.
func throughAt(d *fleet.Deployment) time.Time {
	if d.Run.ID < d.Applied.Sequence {
		return d.Applied.At
	}
	return d.Run.PhaseAt
}

// since gives the spans that ended at a moment or later.
func since(all []spans.Span, at time.Time) []spans.Span {
	var out []spans.Span
	for i := range all {
		if !all[i].End.Before(at) {
			out = append(out, all[i])
		}
	}
	return out
}

func (t *Traces) exportAll(ended []spans.Span) {
	for i := range ended {
		t.export(&ended[i])
	}
}

// advance notes up to which event spans were exported, and how many more assignments were not followed.
func (t *Traces) advance(sequence, dropped uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = sequence
	t.options.Metrics.dropped.WithLabelValues(droppedTooMany).Add(float64(dropped))
}
