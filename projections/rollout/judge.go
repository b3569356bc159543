package rollout

import (
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Class is how a device of the open batch counts when the batch is judged.
type Class int8

// The classes. A device that waits was not given the target; Uncounted ones are
// neither for nor against.
const (
	Uncounted Class = iota
	Waiting
	Open   // given, neither proven nor bad
	Proven // healthy and online for a whole soak
	Failed // bad: believed to have failed
	Silent // bad: online, and said nothing by its deadline
	Lost   // bad: went offline before it was healthy, and was not back by its deadline
	Flaps  // bad: healthy, and never for a whole soak
	Classes
)

// Bad says whether the class is against the batch.
func (c Class) Bad() bool { return c >= Failed && c <= Flaps }

var classNames = [Classes]string{"Uncounted", "Waiting", "Open", "Proven", "Failed", "Silent", "Lost", "Flaps"}

func (c Class) String() string { return classNames[c] }

// Classify gives the class of a device that was given the target of the present run, at
// a moment of the log's clock, and until when that holds if nothing happens; the zero
// time: for ever.
func (s *Settings) Classify(p *fleet.Assignment, soak time.Duration, now time.Time) (Class, time.Time) {
	online := p.Device.Presence.Online == fleet.OnlineTrue
	deadline := p.Begun.Add(s.Deadline)
	at := func(c, then Class, until time.Time) (Class, time.Time) {
		if now.Before(until) {
			return c, until
		}
		return then, time.Time{}
	}
	switch {
	case p.Succeeded() && !online:
		return Uncounted, time.Time{} // it ran, and nothing tells how it fares
	case p.Succeeded():
		proven := p.Since.Add(soak)
		if !now.Before(proven) {
			return Proven, time.Time{}
		}
		if flaps := deadline.Add(soak); now.Before(flaps) {
			return Open, earlier(proven, flaps)
		}
		if p.Returned { // it was away, and nothing says that it does not run it well
			return Uncounted, proven
		}
		return Flaps, proven
	case p.Failed():
		return at(Open, Failed, earlier(p.Since.Add(min(Patience, s.Deadline)), deadline))
	case online:
		return at(Open, Silent, deadline)
	case p.Upset:
		return at(Open, Lost, deadline)
	}
	return Uncounted, time.Time{} // offline from the first on: it is given it when it is back
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Standing is how a device fares in a Deployment's run: the first that holds of the
// list, so that the standings of all devices that match sum up to their number.
type Standing int8

// The six standings.
const (
	Healthy Standing = iota
	Skipped
	StandsFailed
	Offline
	Updating
	StandsWaiting
	Standings
)

var standingNames = [Standings]string{"healthy", "skipped", "failed", "offline", "updating", "waiting"}

func (s Standing) String() string { return standingNames[s] }

// Stand gives the standing of a device that matches. p is its pair, nil where it has
// none; on says whether it has the target as it is filled in for the device now, skipped
// that as things stand it will not be given that. until is when the standing changes if
// nothing happens, zero: never.
func (s *Settings) Stand(dev *fleet.Device, p *fleet.Assignment, on, skipped bool, now time.Time) (st Standing, until time.Time) {
	online := dev != nil && dev.Presence.Online == fleet.OnlineTrue
	switch {
	case on && p.Succeeded():
		return Healthy, time.Time{}
	case skipped && !on:
		return Skipped, time.Time{}
	case on && (p.Failed() || p.Lost && !p.WrittenOff):
		return StandsFailed, time.Time{}
	case !online:
		return Offline, time.Time{}
	case on:
		if silent := p.Begun.Add(s.Deadline); now.Before(silent) {
			return Updating, silent
		}
		return StandsFailed, time.Time{}
	}
	return StandsWaiting, time.Time{}
}

// Held says whether a person or the spec keeps the devices as they are.
func (s *Settings) Held(d *fleet.Deployment) bool { return d.Hold != nil || s.Paused }

// Target gives what a device of a batch should have now; nil: it keeps what it has, and
// has nothing where it has nothing. has says whether the Deployment is on the device.
func (s *Settings) Target(d *fleet.Deployment, has bool, batch int) *fleet.Target {
	run := &d.Run
	failed := run.Failed && s.OnFailure != eventlog.OnFailureContinue // the pause or the rollback that follows is about to be recorded
	switch {
	case run.Phase == fleet.PhaseNone, s.Paused:
		return nil
	case has && (d.Hold != nil || failed || run.Phase == fleet.PhasePaused):
		return nil // to catch up waits too
	case run.Phase == fleet.PhaseRollingBack, run.Phase == fleet.PhaseRolledBack, run.Phase == fleet.PhaseCompleted && !Unmatched(run):
		return &run.Target
	case run.Phase == fleet.PhaseProgressing && d.Hold == nil && !failed && batch <= run.Batch:
		return &run.Target
	case !has && d.Stable.Content != "" && d.Stable.Content != d.Rejected:
		return &d.Stable
	}
	return nil
}

// Unmatched says whether a run was completed because no device matched. Nothing shows
// that its target does no harm, so it is given to no device before another run.
func Unmatched(run *fleet.Run) bool {
	return run.Phase == fleet.PhaseCompleted && run.Reason == fleet.ReasonNoDeviceMatches
}

// Immediate says whether a run gives its target to all at once and is not judged.
func Immediate(run *fleet.Run) bool { return run.Kind == eventlog.RunImmediate }
