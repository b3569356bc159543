package decide

import (
	"slices"
	"time"

	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// Shown is how a Deployment's rollout stands, as decisions see it, with its devices: for
// those who show it to a person.
type Shown struct {
	Progress
	Clock   time.Time     // the log's, at which all of it holds
	Devices []ShownDevice // that match, in the order in which they are given a target
}

// ShownDevice is a device that matches a Deployment.
type ShownDevice struct {
	ID       string
	Online   bool
	Batch    int // from 1
	Has      bool
	Given    bool // it has the run's target
	Standing rollout.Standing
	Class    rollout.Class // of a device that was given the target; else Waiting or Uncounted
	Soaked   time.Time     // of a healthy one whose soak goes on: when that is over
	Skipped  string        // why it is not given the target as things stand
	Unfilled string        // where it is skipped for a value that is filled in: which, and what to do
	Blocked  string        // the Deployment that it waits for, or where it is skipped, that is not there
	Budget   string        // the DisruptionBudget that has no room for it
	Failure  string        // why it fails: the reason that it reports, or Lost or Silent
	Error    string        // that it reports
}

// Shown gives how a Deployment's rollout stands; false where nothing is decided about
// it: its object is gone, is being deleted or has a problem.
func (s *State) Shown(key fleet.Key) (Shown, bool) {
	p := s.Progress(key)
	if p == nil {
		return Shown{}, false
	}
	pl := s.placements[key]
	c := deploymentCase{State: s, key: key, log: pl.phase.log, place: pl}
	out := Shown{Progress: *p, Clock: s.Clock()}
	places := make([]*place, 0, pl.matched)
	for _, p := range pl.places {
		if p.values.matches {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, byOrder)
	out.Devices = make([]ShownDevice, 0, len(places))
	for _, p := range places {
		out.Devices = append(out.Devices, c.shown(p))
	}
	return out, true
}

func (c deploymentCase) shown(p *place) ShownDevice {
	v, run := &p.values, &c.log.Run
	pair := p.pair()
	d := ShownDevice{ID: p.id, Online: v.online, Batch: v.batch, Standing: v.standing, Skipped: v.skipped, Blocked: v.blocked, Failure: v.failure}
	d.Has = pair != nil && pair.Deployment == c.log
	d.Given = v.on
	d.Unfilled = p.unfilled()
	if d.Failure != "" && pair.Failed() {
		d.Error = pair.Reported.Error
	}
	switch {
	case d.Given:
		soak := c.place.set.Batch(run, v.batch).Soak
		d.Class, _ = c.place.set.Classify(pair, soak, c.Clock())
		if d.Class == rollout.Open && pair.Succeeded() {
			d.Soaked = pair.Since.Add(soak)
		}
	case v.standing == rollout.StandsWaiting:
		d.Class = rollout.Waiting
		if full := c.fullGroup(p.id); v.owes && full != nil {
			d.Budget = full.of.name
		}
	}
	return d
}
