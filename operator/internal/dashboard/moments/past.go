package moments

import (
	"context"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/viewdiff"
)

// Moment is now or a moment of the past, on one of the two axes of time.
type Moment struct {
	asof.Moment
	// Happened asks what was true then by the clocks of those who wrote the events, where
	// otherwise it is what the log knew then. Of now it changes nothing.
	Happened bool
}

// lateFor is for how long after it was made a moment as it happened may lack the reports that came
// since that was begun: several looks at it do not fold the log each time.
const lateFor = time.Minute

// known makes the fleet as the log knew it at one of its sequences.
func (m *Moments) known(ctx context.Context, log logstream.Info, at Moment, sequence uint64) (*Fleet, error) {
	v, err := asof.AtSequence(ctx, m.js, log, sequence, asof.Options{})
	if err != nil {
		return nil, err
	}
	clock := v.Recorded
	if at.Sequence == 0 {
		clock = at.Time
	}
	return &Fleet{Catalog: resource.NewCatalog(v, clock), LogID: log.ID}, nil
}

// happened makes the fleet as it was at a moment, however late the log learned of it, from the
// whole log. sequence is the last that the log had then. Meanwhile it has two views: see cache.begin.
func (m *Moments) happened(ctx context.Context, log logstream.Info, at Moment, sequence uint64) (*Fleet, error) {
	last, err := reader.MessageAt(ctx, m.js, eventlog.LogStream, sequence)
	if err != nil {
		return nil, err
	}
	clock := last.Time
	if at.Sequence == 0 {
		clock = at.Time
	}
	v, err := asof.At(ctx, m.js, asof.Moment{Time: clock}, asof.Options{AsHappened: true})
	if err != nil {
		return nil, err
	}
	known, err := asof.AtSequence(ctx, m.js, log, sequence, asof.Options{})
	if err != nil {
		return nil, err
	}
	v.Sequence, v.Recorded = sequence, last.Time.UTC() // the moment's place in the log, and not what was read to make it
	c := resource.NewCatalog(v, clock)
	c.Happened = true
	return &Fleet{Catalog: c, LogID: log.ID, Differs: len(viewdiff.Between(known, v))}, nil
}

// Place is where in the log a moment is.
type Place struct {
	LogID    string
	Sequence uint64    // the last event that the log had then; 0: none
	Recorded time.Time // when the log got it
	Clock    time.Time // to which ages count
	Now      bool      // it is not of the past
	Happened bool      // it is asked for what had happened by then
}

// Place finds a moment in the log, without a fold. Its errors are those of At.
func (m *Moments) Place(ctx context.Context, at Moment) (p Place, err error) {
	if at.IsNow() {
		err := m.At(ctx, at, func(f Fleet) {
			p = Place{f.LogID, f.Catalog.View.Sequence, f.Catalog.View.Recorded, f.Catalog.Now, true, false}
		})
		return p, err
	}
	log, err := logstream.Inspect(ctx, m.js)
	if err != nil {
		return p, err
	}
	sequence, err := asof.Sequence(ctx, m.js, at.Moment)
	if err != nil {
		return p, err
	}
	last, err := reader.MessageAt(ctx, m.js, eventlog.LogStream, sequence)
	if err != nil {
		return p, err
	}
	p = Place{log.ID, sequence, last.Time, last.Time, false, at.Happened}
	if at.Sequence == 0 {
		p.Clock = at.Time
	}
	return p, nil
}
