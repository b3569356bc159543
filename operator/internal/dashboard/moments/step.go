package moments

import (
	"context"
	"errors"
	"fmt"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/viewdiff"
)

// keptSteps is of how many events it is kept what they changed. A list may have the whole of a
// score twice.
const keptSteps = 16

// Changed lists what one event of the log changed in the fleet, as the log knew it: in what the
// fleet just before it and just after it differ. Its view is folded for that alone, one at a
// time, and not kept, so that no view of the past makes room for it; the list is kept. The
// caller must not change it.
//
// Errors: asof.ErrBeforeBeginning where nothing was before the event; asof.ErrBeyondEnd; those
// of reading the log, and of the context. Where the context had a deadline, the work goes on for
// a minute, or until keptSteps others were asked for, for a caller that asks again.
func (m *Moments) Changed(ctx context.Context, sequence uint64) ([]viewdiff.Change, error) {
	log, err := logstream.Inspect(ctx, m.js)
	if err != nil {
		return nil, err
	}
	switch {
	case sequence > log.Last:
		return nil, fmt.Errorf("event %d %w, which is %d", sequence, asof.ErrBeyondEnd, log.Last)
	case sequence <= log.First:
		return nil, fmt.Errorf("what was before event %d %w, which is at %d", sequence, asof.ErrBeforeBeginning, log.First)
	}
	leave, err := m.steps.enter(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer leave()
	k := key{logID: log.ID, sequence: sequence}
	e, err := m.steps.hold(ctx, k, m.now(), func(ctx context.Context) ([]viewdiff.Change, error) { return m.step(ctx, log, sequence) })
	if err != nil {
		return nil, err
	}
	defer m.steps.leave(k, e)
	return e.value, nil
}

// step folds the log up to an event, and applies the event.
func (m *Moments) step(ctx context.Context, log logstream.Info, sequence uint64) (changes []viewdiff.Change, err error) {
	v, err := asof.AtSequence(ctx, m.js, log, sequence-1, asof.Options{})
	if err != nil {
		return nil, err
	}
	for e, err := range reader.Read(ctx, m.js, reader.Options{From: sequence, Until: sequence, LogID: log.ID, Direct: true}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return nil, fmt.Errorf("read event %d: %w", sequence, err)
		}
		changes = viewdiff.Applying(v, e, err)
	}
	return changes, nil
}
