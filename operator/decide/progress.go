package decide

import (
	"cmp"
	"slices"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// Progress is how a Deployment's devices fare in its rollout, in numbers.
type Progress struct {
	Settings rollout.Settings
	Matched  int
	Online   int
	// Standings has the number of devices by rollout.Standing; their sum is Matched.
	Standings [rollout.Standings]int
	Succeeded int // run the target and are well: the standing healthy
	Failed    int // were given the target and report that they failed
	Disturbed int // are unavailable through this Deployment
	// FailedOnline counts the failed ones that are not offline, Offline the devices that
	// are offline and did not succeed.
	FailedOnline int
	Offline      int
	// Owes says that something is still to be given to or taken off devices.
	Owes bool
	// Batch counts the devices of the open batch; nil where none is judged.
	Batch    *eventlog.RolloutCounts
	Open     int       // devices of the open batch that are at work on it or soak
	Failing  int       // of those, the ones that fail, and not for long enough to be believed
	Blocked  int       // devices of the open batch, or of an Immediate run those online, that wait for a Deployment that they depend on
	Parked   int       // devices that wait for a DisruptionBudget
	Missing  int       // devices, offline ones too, that wait until a Deployment that they depend on is healthy there, where nobody was given anything
	Gate     string    // what the open batch waits for, where that is a gate; empty: it waits for none
	Paced    bool      // the rate of its run lets nothing be given to another device at the moment, and some wait for that
	Unfilled int       // where that is nobody, online devices that wait for labels that are filled in, and nobody was given anything
	Shut     bool      // its windows are closed, and the run waits for them
	Opens    time.Time // when they open; zero where they never do
	Cycle    bool      // the Deployment depends on itself, so none of those ever goes on
	Failures []Failure
	Skips    []Failure // why devices are skipped
}

// Failure counts the devices that fail, or are skipped, for one reason.
type Failure struct {
	Reason   string
	Devices  int
	Examples []string
	// Message says of the first one what to do, where a value that is filled in is missing.
	Message string
}

const (
	maxFailures        = 10
	maxFailureExamples = 3
)

// Progress gives how a Deployment's rollout gets on; nil where nothing of it is placed.
func (s *State) Progress(key fleet.Key) *Progress {
	p := s.Figures(key)
	if p == nil {
		return nil
	}
	pl := s.placements[key]
	p.Failures, p.Skips = pl.failures.first(), pl.skips.first()
	for i := range p.Skips {
		if first := pl.places[p.Skips[i].Examples[0]]; first.unfilled() != "" {
			p.Skips[i].Message = first.id + ": " + first.unfilled()
		}
	}
	return p
}

// byReason has places by why something is wrong with them.
type byReason map[string]map[*place]struct{}

// note adds a place, or takes it away.
func (m byReason) note(p *place, reason string, n int) {
	switch {
	case reason == "":
	case n > 0:
		if m[reason] == nil {
			m[reason] = map[*place]struct{}{}
		}
		m[reason][p] = struct{}{}
	default:
		delete(m[reason], p)
		if len(m[reason]) == 0 {
			delete(m, reason)
		}
	}
}

// first gives the reasons of most places, with the first of these.
func (m byReason) first() (all []Failure) {
	for reason, devices := range m {
		var first []string
		for d := range devices {
			first = keepFirst(first, d.id, maxFailureExamples)
		}
		all = append(all, Failure{Reason: reason, Devices: len(devices), Examples: first})
	}
	slices.SortFunc(all, func(a, b Failure) int {
		if c := cmp.Compare(b.Devices, a.Devices); c != 0 {
			return c
		}
		return cmp.Compare(a.Reason, b.Reason)
	})
	return all[:min(len(all), maxFailures)]
}

// Figures gives Progress without its failures. That costs the same for a hundred devices
// and for a hundred thousand; nil where nothing of the Deployment is placed.
func (s *State) Figures(key fleet.Key) *Progress {
	pl := s.placementOf(key)
	if pl == nil {
		return nil
	}
	p := &Progress{
		Settings: pl.set, Matched: pl.matched, Online: pl.online, Standings: pl.standings, Succeeded: pl.standings[rollout.Healthy],
		Disturbed: pl.disturbed, Failed: pl.failed, FailedOnline: pl.failedOnline, Offline: pl.absent, Owes: pl.owes(), Open: pl.classes[rollout.Open], Failing: pl.failing, Blocked: pl.blocked + pl.depends, Parked: pl.parked,
		Cycle: pl.cyclic(s), Shut: !pl.hours.Open,
	}
	if p.Shut {
		p.Opens = pl.hours.Until
	}
	if run := &pl.phase.log.Run; len(pl.set.Batch(run, run.Batch).Gates) > 0 {
		if c := s.deploymentCase(key, s.Clock()); c.gated() {
			p.Gate = pl.set.NotHolding(run, s.Clock()).Tells(run)
		}
	}
	if most, _ := pl.set.Pace(&pl.phase.log.Run, s.Clock()); most == 0 {
		p.Paced = pl.servable()
	}
	if pl.nowhere() {
		if p.Missing = pl.missing; p.Missing == 0 {
			p.Unfilled = pl.unfilled
		}
	}
	if run := &pl.phase.log.Run; run.Phase.Moving() && !rollout.Immediate(run) {
		p.Batch = s.deploymentCase(key, s.Clock()).counts()
	}
	return p
}

// keepFirst keeps the first few of many texts, without sorting them all.
func keepFirst(first []string, text string, most int) []string {
	at, _ := slices.BinarySearch(first, text)
	if at >= most {
		return first
	}
	first = slices.Insert(first, at, text)
	return first[:min(len(first), most)]
}

// owes says whether something is still to be given to devices or taken off them.
func (pl *placement) owes() bool {
	return len(pl.fresh)+len(pl.first)+len(pl.renumber)+pl.strays+len(pl.broken)+len(pl.up)+pl.parked > 0
}

// failureOf is the reason for which a device fails; empty: it does not.
func failureOf(pair *fleet.Assignment, standing rollout.Standing) string {
	switch {
	case standing != rollout.StandsFailed:
		return ""
	case pair.Failed() && pair.Reported.Reason != "":
		return clip(pair.Reported.Reason, 128)
	case pair.Failed():
		return v1alpha1.ReasonDeviceFailed
	case pair.Lost:
		return rollout.Lost.String()
	}
	return rollout.Silent.String()
}

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
