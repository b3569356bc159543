package decide

import (
	"time"

	"fleet.nationtech.io/projections/fleet"
)

// clock is the log's clock: the highest time at which the log recorded an event that
// is folded, plus what has gone by since. It never falls: where a server's clock is
// behind, it stands still.
type clock struct {
	at       time.Time // what it shows
	recorded time.Time // the highest that the fold has seen
	read     time.Time // when that was first seen, by the machine's monotonic clock
	listens  time.Time // nothing is judged before
}

// Tick moves the log's clock on: t is the machine's own time, whose differences alone
// count.
func (s *State) Tick(t time.Time) {
	c := &s.clock
	if s.view.Clock.After(c.recorded) {
		c.recorded, c.read = s.view.Clock, t
	}
	if at := c.recorded.Add(max(0, t.Sub(c.read))); at.After(c.at) {
		c.at = at
	}
}

// Clock shows the log's clock.
func (s *State) Clock() time.Time {
	if s.view.Clock.After(s.clock.at) {
		return s.view.Clock
	}
	return s.clock.at
}

// Listen notes that a leader began to hear the devices: nothing is judged before it
// has listened for a while, for until then it does not know who is there.
func (s *State) Listen(timeout time.Duration) { s.clock.listens = s.Clock().Add(timeout) }

// heard says whether this leader has listened for long enough.
func (s *State) heard() bool { return !s.Clock().Before(s.clock.listens) }

// Wake gives the next moment, by the log's clock, at which Due has to be asked, for
// something can fall due though nothing else happens; the zero time: none.
func (s *State) Wake() time.Time {
	s.refresh()
	if len(s.stirred) > 0 {
		return s.Clock()
	}
	var next time.Time
	consider := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, pl := range s.placements {
		if len(pl.due) > 0 {
			consider(pl.due[0].values.until)
		}
		if !pl.hours.Open && (pl.phase.at.Moving() || len(pl.up) > 0) {
			consider(pl.hours.Until)
		}
		if most, again := pl.set.Pace(&pl.phase.log.Run, s.Clock()); most == 0 && pl.servable() {
			consider(again)
		}
		if !pl.phase.at.Moving() {
			continue
		}
		if !s.heard() {
			consider(s.clock.listens)
		}
		for _, t := range pl.deadlines() {
			if t.After(s.Clock()) {
				consider(t)
			}
		}
	}
	return next
}

// rated says whether a rate bounds what the run gives to devices.
func (pl *placement) rated() bool { return pl.set.Rate != nil && pl.phase.log.Run.Paced() }

// servable says whether a device waits for nothing but the rate.
func (pl *placement) servable() bool {
	return len(pl.broken)+len(pl.first) > 0 || len(pl.up) > 0 && pl.hours.Open && pl.disturbed < pl.set.MostUnavailable(pl.matched)
}

// deadlines are the moments at which a batch that does not get on is judged for it.
func (pl *placement) deadlines() []time.Time {
	run := &pl.phase.log.Run
	return []time.Time{run.BatchAt.Add(pl.set.Deadline), pl.unprovenAt(), pl.stuckAt()}
}

// unprovenAt is when a batch of which nobody has proven anything has had time enough. While
// its windows were closed nobody could.
func (pl *placement) unprovenAt() time.Time {
	at := pl.phase.log.Run.BatchAt
	if pl.hours.Since.After(at) {
		at = pl.hours.Since
	}
	return at.Add(pl.set.Deadline)
}

// stuckAt is when a batch that waits for budgets alone has waited for too long. To wait for
// a window is no failure, and while the rate lets nothing be given, no budget is tried.
func (pl *placement) stuckAt() time.Time {
	at := pl.unprovenAt()
	if next := pl.phase.log.Run.Next; pl.rated() && next.After(at) {
		at = next
	}
	if newest := pl.newestBegun().Add(pl.set.Deadline); newest.After(at) {
		at = newest
	}
	return at
}

// noteBegun adds a device's deadline to those of the open batch, or takes it away.
func (pl *placement) noteBegun(begun fleet.Moment, n int) {
	switch {
	case begun == 0:
	case n > 0 && begun >= pl.newest:
		pl.newest, pl.newestLeft = begun, false
	case n < 0 && begun == pl.newest:
		pl.newestLeft = true // unless it comes back, or another began with it
	}
}

// newestBegun is when the newest deadline of the open batch's devices began; the zero time:
// there is none. Devices are looked through only where the one with that deadline left.
func (pl *placement) newestBegun() time.Time {
	if pl.newestLeft {
		pl.newest, pl.newestLeft = 0, false
		for _, p := range pl.places {
			pl.newest = max(pl.newest, p.values.begun)
		}
	}
	return pl.newest.Time()
}
