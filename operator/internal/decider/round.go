package decider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator/decide"
)

// maxData bounds an event's payload, so that one that is too large stops only its
// own input.
const maxData = logstream.MaxMessageBytes - 4<<10

// round decides about a batch and appends what is due. It gives the inputs that are
// not settled: they are decided again, or their decision failed.
func (r *run) round(ctx context.Context, batch []Input) (open map[Input]struct{}, err error) {
	open = map[Input]struct{}{}
	began := r.Now()
	found := r.decide(batch)
	if len(found.settled) > 0 {
		r.observer.Settled(found.settled)
	}
	if len(found.drafts) > 0 {
		decided := r.Now()
		last, err := r.log.Append(ctx, found.drafts)
		appended := r.Now()
		switch {
		case errors.Is(err, appender.ErrLogFull):
			wait := fullPause
			if r.observer.LogFull(ctx) {
				wait = 0
			}
			for _, in := range batch {
				if in.Answer != nil {
					continue // it grows old; its gate is asked again
				}
				open[in] = struct{}{}
				r.queue.AddAfter(in, wait)
			}
			return open, r.State.WaitFor(ctx, last) // part of it may have been taken
		case errors.Is(err, appender.ErrTooLarge):
			if err := r.State.WaitFor(ctx, last); err != nil {
				return nil, err
			}
			return r.oneByOne(ctx, batch, err)
		case err != nil:
			return nil, fmt.Errorf("append what was decided: %w", err)
		}
		r.observer.Appended(found.drafts)
		if err := r.State.WaitFor(ctx, last); err != nil {
			return nil, err
		}
		if r.Round != nil {
			r.Round(found.drafts, began, decided, appended)
		}
	}
	for _, in := range found.again {
		open[in] = struct{}{}
		r.queue.Add(in)
	}
	r.wake(found.wake)
	r.leaveOpen(open, found.failed)
	return open, nil
}

// oneByOne decides about the inputs of a batch of which the log refused one for its
// size: the others go on, and what was refused becomes its object's condition.
func (r *run) oneByOne(ctx context.Context, batch []Input, refused error) (open map[Input]struct{}, err error) {
	open = map[Input]struct{}{}
	if len(batch) > 1 {
		for _, in := range batch {
			of, err := r.round(ctx, []Input{in})
			if err != nil {
				return nil, err
			}
			maps.Copy(open, of)
		}
		return open, nil
	}
	var due []eventlog.Draft
	r.State.Do(func(s *decide.State) { due = r.fail(s, batch[0], refused, r.Now()) })
	r.leaveOpen(open, batch)
	if len(due) == 0 {
		return open, nil
	}
	last, err := r.log.Append(ctx, due)
	switch {
	case errors.Is(err, appender.ErrTooLarge), errors.Is(err, appender.ErrLogFull):
		// The condition says it; the log cannot.
	case err != nil:
		return nil, fmt.Errorf("append what was refused: %w", err)
	default:
		r.observer.Appended(due)
	}
	return open, r.State.WaitFor(ctx, last)
}

// fail notes why the decision about an input failed, and gives what records it.
func (r *run) fail(s *decide.State, in Input, err error, now time.Time) []eventlog.Draft {
	if !in.ofObject() {
		r.Logger.Error("decision failed; the device's presence, the log's seal or the gate's answer is not recorded", "input", in, "error", err)
		return nil
	}
	p := decide.ProblemOf(err)
	if s.MarkFailed(in.Input, p) {
		r.Logger.Error("decision failed; the object's condition says why, other objects go on", "input", in.Input, "reason", p.Reason, "error", err)
	}
	due, err := decide.Refuse(s, in.Input, p, now)
	if err != nil {
		r.Logger.Error("cannot encode deployment.refused", "input", in.Input, "error", err)
	}
	return due
}

// leaveOpen keeps the inputs whose decision failed from counting as settled.
func (r *run) leaveOpen(open map[Input]struct{}, failed []Input) {
	var ins []decide.Input
	for _, in := range failed {
		open[in] = struct{}{}
		if in.ofObject() {
			ins = append(ins, in.Input)
		}
	}
	if len(ins) > 0 {
		r.observer.Failed(ins)
	}
}

// findings are what a round came to.
type findings struct {
	drafts  []eventlog.Draft
	settled []decide.Input // nothing more is due
	again   []Input        // to be decided again after the drafts
	failed  []Input        // their decision failed
	wake    time.Duration  // until something falls due though nothing happens; negative: nothing does
}

// wake asks for a round at the moment at which something falls due. One that comes late
// or twice does no harm.
func (r *run) wake(in time.Duration) {
	switch {
	case in == 0:
		r.queue.Add(Input{Wake: true})
	case in > 0:
		r.queue.AddAfter(Input{Wake: true}, in)
	}
}

// decide decides about each input. One whose events touch a subject that another has
// touched in this round waits for the next: it was decided without knowing what the
// other appends.
func (r *run) decide(batch []Input) findings {
	var f findings
	touched := map[string]struct{}{}
	var revoked []eventlog.Draft
	now := r.Now()
	r.State.Do(func(s *decide.State) {
		s.Tick(r.Now())
		released, more := decide.Release(s, now, decide.MaxGrants) // before all else: it alone upsets devices
		f.drafts = released
		for i := range released {
			touched[released[i].Subject] = struct{}{}
		}
		defer func() { f.wake = until(s, more || len(released) > 0) }()
		for _, in := range batch {
			due, err := r.due(s, in, now)
			failed := err != nil
			if failed {
				f.failed = append(f.failed, in)
				due = r.fail(s, in, err, now)
			} else {
				s.MarkDecided(in.Deployment, len(due) == 0)
			}
			switch {
			case failed && len(due) == 0:
			case len(due) == 0:
				s.ClearFailed(in.Input) // not before: the append may be what fails
				if in.ofObject() {
					f.settled = append(f.settled, in.Input)
				}
			case touches(touched, due):
				f.again = append(f.again, in)
			default:
				if len(batch) > 1 || len(released) > 0 {
					for i := range due {
						touched[due[i].Subject] = struct{}{}
					}
				}
				if due[0].Type == eventlog.AccessRevoked {
					revoked = append(revoked, due...)
				} else {
					f.drafts = append(f.drafts, due...)
				}
				f.again = append(f.again, in.next())
			}
		}
	})
	if len(revoked) > 0 { // first, so that they have room where there is little
		f.drafts = append(revoked, f.drafts...)
	}
	return f
}

// until says how long it takes until something falls due though nothing happens.
func until(s *decide.State, atOnce bool) time.Duration {
	if atOnce {
		return 0
	}
	wake := s.Wake()
	if wake.IsZero() {
		return -1
	}
	return max(minWake, wake.Sub(s.Clock()))
}

// minWake keeps moments that are close together in one round.
const minWake = 10 * time.Millisecond

func (r *run) due(s *decide.State, in Input, now time.Time) ([]eventlog.Draft, error) {
	switch {
	case in.Presence != "":
		return decide.Presence(s, in.Presence, r.Verdict(in.Presence), now)
	case in.Seal:
		return r.Seal(now)
	case in.Wake:
		return decide.Due(s, now)
	case in.Answer != nil:
		return decide.Measured(s, *in.Answer, now)
	case r.crMissing(s, in):
		return nil, nil
	}
	due, err := decide.Decide(s, in.Input, now)
	if err != nil {
		return nil, err
	}
	for i := range due {
		if n := len(due[i].Data); n > maxData {
			return nil, fmt.Errorf("%s on %s: %w: %d bytes, at most %d", due[i].Type, due[i].Subject, appender.ErrTooLarge, n, maxData)
		}
	}
	return due, nil
}

func touches(touched map[string]struct{}, due []eventlog.Draft) bool {
	if len(touched) == 0 {
		return false
	}
	for i := range due {
		if _, ok := touched[due[i].Subject]; ok {
			return true
		}
	}
	return false
}
