package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/template"
)

// Why gives the first thing that a device waits for in a Deployment's rollout, at a
// moment of the log's clock.
func Why(v *fleet.View, d *fleet.Deployment, dev *fleet.Device, at time.Time) Wait {
	return Look(v, d, at).Why(dev)
}

// Why gives the first thing that a device waits for.
func (s *Survey) Why(dev *fleet.Device) Wait {
	run := &s.d.Run
	p := s.byID[dev.ID]
	if p == nil {
		return Wait{Message: s.name() + " is not for " + dev.ID}
	}
	w := s.why(p)
	w.Revision = run.Target.Revision
	if run.ID > 0 && p.Matches {
		w.Batch, w.Open, w.Batches = p.Batch, run.Batch, len(run.Batches)
	}
	return w
}

func (s *Survey) why(p *Place) Wait {
	switch {
	case s.d.Lifecycle != fleet.Applied:
		return Wait{Message: fmt.Sprintf("%s is %s, so nothing of it changes on %s", s.name(), strings.ToLower(string(s.d.Lifecycle)), p.Device.ID)}
	case !p.Matches && !p.Has:
		return Wait{Kind: WaitReport, Message: p.Device.ID + " has yet to take it off", Devices: []string{p.Device.ID}}
	case !p.Matches:
		return s.whyLeaves(p)
	case p.Skipped == WaitNameConflict:
		holder := p.Pair.Deployment.Key.String()
		return Wait{Kind: WaitNameConflict, Name: holder, Message: fmt.Sprintf("%s holds the name %s on %s", holder, s.d.Key.Name, p.Device.ID)}
	case s.unstarted():
		return Wait{Kind: WaitOperator, Message: fmt.Sprintf("the operator has yet to start the rollout of revision %d", s.d.Spec.Revision)}
	case p.Member:
		return s.whyMember(p)
	}
	return s.whyNotGiven(p)
}

// unstarted says whether another content is asked for than the run brings out, and its
// rollout has not started.
func (s *Survey) unstarted() bool {
	d, run := s.d, &s.d.Run
	return d.Rejected != d.Spec.ScoreHash && (run.Target.Revision != d.Spec.Revision || run.Kind == eventlog.RunRollback ||
		run.Phase == fleet.PhaseNone || run.Phase == fleet.PhaseSuperseded)
}

// whyMember: the device was given the run's target.
func (s *Survey) whyMember(p *Place) Wait {
	run, id := &s.d.Run, p.Device.ID
	revision := run.Target.Revision
	switch {
	case !p.Pair.Succeeded() && !p.Online():
		return Wait{Kind: WaitOffline, Message: fmt.Sprintf("%s was given revision %d and is offline", id, revision), Devices: []string{id}}
	case p.Pair.Failed():
		return Wait{Kind: WaitReport, Message: fmt.Sprintf("%s was given revision %d and reports that it failed%s", id, revision, because(p.Pair.Reported.Reason)), Devices: []string{id}}
	case !p.Pair.Succeeded():
		w := Wait{Kind: WaitReport, Message: fmt.Sprintf("%s was given revision %d and has not reported that it runs", id, revision), Devices: []string{id}}
		if Immediate(run) {
			return w
		}
		if late := p.Pair.Begun.Add(s.set.Deadline); s.at.Before(late) {
			w.Until = &late
			w.Message += fmt.Sprintf("; it counts as failed after %s more", span(late.Sub(s.at)))
		} else {
			w.Message += fmt.Sprintf(", %s past its deadline", span(s.at.Sub(late)))
		}
		return w
	case s.judges() && p.Batch == run.Batch && p.Class == Open:
		proven := p.Pair.Since.Add(s.soak(p.Batch))
		return Wait{
			Kind: WaitSoak, Until: &proven, Devices: []string{id},
			Message: fmt.Sprintf("%s runs revision %d and has to run it well for %s more", id, revision, span(proven.Sub(s.at))),
		}
	case s.d.Rejected != "" && s.d.Rejected == s.d.Spec.ScoreHash && run.Target.Content != s.d.Spec.ScoreHash:
		return s.refused()
	}
	return Wait{Message: fmt.Sprintf("%s runs revision %d, which is what it should have", id, revision)}
}

// judges says whether the open batch is one that is judged.
func (s *Survey) judges() bool {
	return s.d.Run.Phase == fleet.PhaseProgressing && !Immediate(&s.d.Run) && !s.d.Run.Passed
}

func (s *Survey) refused() Wait {
	run := &s.d.Run
	if run.Kind == eventlog.RunRestart {
		return Wait{Kind: WaitRefused, Sequence: run.Sequence, Message: fmt.Sprintf("the restart of revision %d was aborted", run.Target.Revision)}
	}
	how := "was aborted"
	if run.Kind == eventlog.RunRollback {
		how = "was rolled back"
	}
	return Wait{Kind: WaitRefused, Sequence: run.Sequence, Message: fmt.Sprintf(
		"the rollout of revision %d %s, and its content is not tried again before a person retries it or the spec changes", s.d.Spec.Revision, how)}
}

// whyNotGiven: what the device has, if anything, is not the run's target.
func (s *Survey) whyNotGiven(p *Place) Wait {
	run, id := &s.d.Run, p.Device.ID
	if w, stopped := s.stopped(p.Has); stopped {
		return w
	}
	target := s.set.Target(s.d, p.Has, p.Batch)
	given := run.Target.Revision
	if target != nil {
		given = target.Revision
	}
	switch {
	case p.Skipped == WaitNoDevice:
		return Wait{Kind: WaitNoDevice, Message: "the log has no labels of " + id + ", so no Device object says that it is the fleet's"}
	case p.Skipped == WaitDependency:
		return Wait{Kind: WaitDependency, Name: p.Blocked, Message: fmt.Sprintf("it depends on %s/%s, which is not assigned to %s", s.d.Key.Namespace, p.Blocked, id)}
	case p.Skipped == WaitValue || p.Skipped == WaitValueInvalid:
		return s.whyUnfilled(p)
	case run.Phase == fleet.PhaseAborted && target == nil:
		return s.refused()
	case target == nil && run.Phase == fleet.PhaseProgressing && p.Batch > run.Batch:
		return s.whyBatch(p)
	case target == nil:
		return Wait{Kind: WaitOperator, Sequence: run.Sequence, Message: "the operator says next how the rollout goes on"}
	case p.Has && p.rendering.Err == nil && p.Pair.Desired.Hash == p.rendering.Hash:
		return Wait{Message: fmt.Sprintf("%s has revision %d, which is what it should have", id, given)}
	case p.Blocked != "" && s.cycle:
		return Wait{Kind: WaitDependency, Name: p.Blocked, Message: s.name() + " depends on itself by way of spec.rollout.dependsOn"}
	case p.Blocked != "":
		return Wait{Kind: WaitDependency, Name: p.Blocked, Message: fmt.Sprintf(
			"it depends on %s/%s, which is not healthy on %s in the revision that its own rollout brings out", s.d.Key.Namespace, p.Blocked, id)}
	case !p.Has && p.Pair != nil && p.Pair.Leaving():
		return Wait{Kind: WaitReport, Name: p.Pair.String(), Message: fmt.Sprintf("%s has yet to take %s off", id, p.Pair.Key)}
	case !p.Has && s.paced():
		return s.whyRate(id + " waits")
	case !p.Has: // it upsets nothing, so it waits for nothing
	case !p.Online() && (!Immediate(run) || s.budgeted(p.Device)):
		return Wait{Kind: WaitOffline, Devices: []string{id}, Message: fmt.Sprintf("%s is offline, and is given revision %d when it is back", id, given)}
	case (p.Pair.Disturbed() || p.Pair.Failed()) && s.paced():
		return s.whyRate(id + " waits")
	case p.Pair.Disturbed(), p.Pair.Failed(): // what it has is down anyway
	case !s.hours.Open:
		return s.whyWindow(fmt.Sprintf("%s is given revision %d", id, given))
	case s.paced():
		return s.whyRate(id + " waits")
	case !p.Online():
	case !Immediate(run) && s.counts.Disturbed >= s.counts.MaxUnavailable:
		return s.whyMaxUnavailable()
	default:
		if full := s.fullBudget(p.Device); full != nil {
			return full.wait()
		}
	}
	if p.Has && p.Pair.Has(target) {
		return Wait{Kind: WaitOperator, Message: fmt.Sprintf("the labels of %s changed, which are filled in in revision %d: the operator gives it what comes of that next", id, given)}
	}
	return Wait{Kind: WaitOperator, Message: fmt.Sprintf("nothing holds revision %d back: the operator gives it to %s next", given, id)}
}

// whyUnfilled: the target cannot be filled in for the device.
func (s *Survey) whyUnfilled(p *Place) Wait {
	id := p.Device.ID
	text := fmt.Sprintf("revision %d cannot be filled in for %s: ", s.d.Run.Target.Revision, id)
	w := Wait{Kind: p.Skipped, Devices: []string{id}, Message: text + Unfilled(p.rendering.Err, id)}
	if missing := (*template.Missing)(nil); errors.As(p.rendering.Err, &missing) {
		w.Name = missing.Label
	}
	if p.Has {
		w.Message += fmt.Sprintf("; what it has of revision %d stays", p.Pair.Desired.Revision)
	}
	return w
}

// stopped gives what keeps all devices as they are; one that has nothing gets what is
// stable even so.
func (s *Survey) stopped(has bool) (Wait, bool) {
	d, run := s.d, &s.d.Run
	if !has && s.set.Target(d, false, 1) != nil {
		return Wait{}, false
	}
	switch {
	case d.Hold != nil:
		text := fmt.Sprintf("%s holds %s", orUnknown(d.Hold.By), s.name())
		if d.Hold.Reason != "" {
			text += ": “" + d.Hold.Reason + "”"
		}
		return Wait{Kind: WaitHold, Name: d.Hold.By, Sequence: d.Hold.Mark.Sequence, Message: text}, true
	case s.set.Paused:
		return Wait{Kind: WaitSpecPaused, Sequence: d.Applied.Sequence, Message: "spec.rollout.paused of " + s.name() + " is true"}, true
	case run.Phase == fleet.PhasePaused:
		text := fmt.Sprintf("the rollout of revision %d is paused%s", run.Target.Revision, because(run.Reason))
		if run.Message != "" {
			text += ": " + run.Message
		}
		return Wait{Kind: WaitPaused, Sequence: run.Sequence, Message: text}, true
	}
	return Wait{}, false
}

// waitsForWindow says whether a device of the open batch waits for the windows, and for no
// other Deployment first.
func (s *Survey) waitsForWindow() bool {
	return !s.hours.Open && slices.ContainsFunc(s.places, func(p *Place) bool {
		return p.Matches && p.Batch == s.d.Run.Batch && p.Class == Waiting && p.Has && p.Blocked == "" && !p.Pair.Disturbed() && !p.Pair.Failed()
	})
}

// paced says whether the rate lets nothing be given at the moment.
func (s *Survey) paced() bool {
	most, _ := s.set.Pace(&s.d.Run, s.at)
	return most == 0
}

// whyRate says when the rate lets something be given again.
func (s *Survey) whyRate(waits string) Wait {
	_, again := s.set.Pace(&s.d.Run, s.at)
	return Wait{Kind: WaitRate, Until: &again, Sequence: s.d.Applied.Sequence, Message: fmt.Sprintf(
		"%s for spec.rollout.rate, which is %s now; the next device is given it at %s", waits, RateText(s.set.Rate, s.d.Run.Succeeded), again.UTC().Format(time.RFC3339))}
}

// RateText is 50 devices in 1m0s.
func RateText(r *eventlog.Rate, succeeded int) string {
	per := eventlog.DefaultRatePer
	if r.Per != nil {
		per = *r.Per
	}
	return fmt.Sprintf("%s in %s", DevicesText(r.Now(succeeded)), time.Duration(per))
}

// whyWindow says until when something waits for the windows.
func (s *Survey) whyWindow(what string) Wait {
	w := Wait{Kind: WaitWindow, Sequence: s.d.Applied.Sequence}
	if opens := s.hours.Until; opens.IsZero() {
		w.Message = what + " when a window of spec.rollout.windows opens, and none ever does: correct them"
	} else {
		w.Until = &opens
		w.Message = fmt.Sprintf("%s when the next window of spec.rollout.windows opens, at %s, in %s", what, opens.UTC().Format(time.RFC3339), span(opens.Sub(s.at)))
	}
	return w
}

func (s *Survey) whyMaxUnavailable() Wait {
	w := Wait{Kind: WaitMaxUnavailable, Message: fmt.Sprintf(
		"%d of %s are unavailable through this rollout, and spec.rollout.maxUnavailable allows %d", s.counts.Disturbed, DevicesText(s.counts.Matched), s.counts.MaxUnavailable)}
	for _, p := range s.places {
		if p.Has && p.Pair.Disturbed() || p.Pair != nil && p.Pair.Leaving() && *p.Pair.Key == s.d.Key {
			w.name(p.Device.ID)
		}
	}
	return w
}

// whyLeaves: the device has the Deployment and does not match any more.
func (s *Survey) whyLeaves(p *Place) Wait {
	id, immediate := p.Device.ID, Immediate(&s.d.Run)
	if w, stopped := s.stopped(true); stopped {
		return w
	}
	switch {
	case p.Device.Out():
	case !p.Online() && !immediate:
		return Wait{Kind: WaitOffline, Devices: []string{id}, Message: id + " is offline; " + s.name() + " is withdrawn there when it is back"}
	case !p.Online(), p.Pair.Reported.Sequence == 0:
	case s.counts.Disturbed >= s.counts.MaxUnavailable:
		return s.whyMaxUnavailable()
	default:
		if full := s.fullBudget(p.Device); full != nil {
			return full.wait()
		}
	}
	return Wait{Kind: WaitOperator, Message: "the operator withdraws " + s.name() + " from " + id + " next"}
}

func (s *Survey) name() string { return s.d.Key.String() }

func orUnknown(name string) string {
	if name == "" {
		return "somebody"
	}
	return name
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// DevicesText is 1 device or 5 devices.
func DevicesText(n int) string {
	if n == 1 {
		return "1 device"
	}
	return fmt.Sprintf("%d devices", n)
}

// Verb is the form of a verb that fits a number of devices.
func Verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// span is a duration to the second, at least one.
func span(d time.Duration) string { return max(time.Second, d.Round(time.Second)).String() }
