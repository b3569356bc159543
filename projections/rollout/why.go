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

// WaitKind is what a device waits for.
type WaitKind string

// What a device can wait for. Each names the first thing only: what comes after that is
// not known before.
const (
	WaitNothing        WaitKind = ""                     // it has what it should have
	WaitNameConflict   WaitKind = "NameConflict"         // another Deployment of the name holds the device
	WaitNoDevice       WaitKind = "NoDeviceObject"       // there is no Device object that the selector could match
	WaitRefused        WaitKind = "Refused"              // the content is not tried again
	WaitHold           WaitKind = "Hold"                 // a person paused the Deployment
	WaitSpecPaused     WaitKind = "SpecPaused"           // spec.rollout.paused is true
	WaitPaused         WaitKind = "Paused"               // the run is paused
	WaitBatch          WaitKind = "Batch"                // an earlier batch is open
	WaitSoak           WaitKind = "Soak"                 // devices have yet to prove that they run well
	WaitApproval       WaitKind = "Approval"             // a person has to let the run go on
	WaitDependency     WaitKind = "Dependency"           // a Deployment that it depends on is not healthy there
	WaitValue          WaitKind = template.ReasonMissing // it has no value for a place that is filled in
	WaitValueInvalid   WaitKind = template.ReasonInvalid // what is filled in for it makes a score that it would refuse
	WaitOffline        WaitKind = "Offline"              // the device is offline
	WaitMaxUnavailable WaitKind = "MaxUnavailable"       // as many devices as may be are unavailable through the rollout
	WaitBudget         WaitKind = "DisruptionBudget"
	WaitWindow         WaitKind = "Window" // no window of spec.rollout.windows is open
	WaitRate           WaitKind = "Rate"   // spec.rollout.rate lets nothing be given at the moment
	WaitGate           WaitKind = "Gate"   // a gate of the open batch does not hold
	WaitReport         WaitKind = "Report" // it was given the target, and does not run it well
	WaitOperator       WaitKind = "Operator"
)

// maxNamed is how many devices a Wait names.
const maxNamed = 10

// Wait is the first thing that a device waits for in a Deployment's rollout.
type Wait struct {
	Kind WaitKind `json:"kind,omitempty"`
	// Message is one sentence for people.
	Message string `json:"message"`
	// Batch is the device's, Open the one that is open, of Batches; from 1.
	Batch   int `json:"batch,omitempty"`
	Open    int `json:"open,omitempty"`
	Batches int `json:"batches,omitempty"`
	// Revision is that of the run's target.
	Revision uint64 `json:"revision,omitempty"`
	// Until is when it ends if nothing else happens; nil: nobody knows.
	Until *time.Time `json:"until,omitempty"`
	// Name is the Deployment, the DisruptionBudget or the label that it waits for, Group the group
	// of that budget, Devices the first of the devices that it waits for.
	Name    string   `json:"name,omitempty"`
	Group   string   `json:"group,omitempty"`
	Devices []string `json:"devices,omitempty"`
	// Sequence is the event that began it, where one did.
	Sequence uint64 `json:"sequence,omitempty"`
}

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

// whyBatch: the batch of a device is not open yet. It says what the open one waits for.
func (s *Survey) whyBatch(p *Place) Wait {
	run := &s.d.Run
	w := s.OpenBatch()
	if w.Kind == WaitNothing || w.Kind == WaitOperator {
		w.Kind = WaitBatch
	}
	w.Message = fmt.Sprintf("%s is in batch %d of %d; %s", p.Device.ID, p.Batch, len(run.Batches), w.Message)
	return w
}

// OpenBatch gives what the open batch of the run waits for.
func (s *Survey) OpenBatch() Wait {
	run := &s.d.Run
	if w, stopped := s.stopped(true); stopped {
		return w
	}
	if !run.Phase.Moving() || run.Batch < 1 || run.Batch > len(s.counts.Batches) {
		return Wait{Message: "no batch is open"}
	}
	n, settings := s.counts.Batches[run.Batch-1], s.set.Batch(run, run.Batch)
	w := Wait{Kind: WaitBatch}
	goOn := fmt.Sprintf("the operator opens batch %d", run.Batch+1)
	if run.Batch >= len(run.Batches) {
		goOn = "the operator completes the rollout"
	}
	switch {
	case run.Passed && run.Batch < len(run.Batches) && settings.Manual && !run.Let && !run.Full:
		return Wait{Kind: WaitApproval, Sequence: run.Sequence, Message: fmt.Sprintf(
			"batch %d succeeded, and a person has to let the rollout go on: fleetctl rollout promote %s -n %s", run.Batch, s.d.Key.Name, s.d.Key.Namespace)}
	case run.Passed && run.Batch < len(run.Batches) && !s.hours.Open:
		return s.whyWindow(fmt.Sprintf("batch %d is through, and batch %d begins", run.Batch, run.Batch+1))
	case run.Passed:
		return Wait{Kind: WaitOperator, Sequence: run.Sequence, Message: fmt.Sprintf("batch %d is through, and %s", run.Batch, goOn)}
	case run.Failed:
		return Wait{Kind: WaitOperator, Sequence: run.Sequence, Message: fmt.Sprintf("batch %d failed, and the operator says next what follows", run.Batch)}
	case n.Waiting > 0 && n.Open == 0 && s.waitsForWindow():
		w = s.whyWindow(fmt.Sprintf("%s of batch %d %s given revision %d", DevicesText(n.Waiting), run.Batch, Verb(n.Waiting, "is", "are"), run.Target.Revision))
		s.nameWhere(&w, func(c Class, _ *Place) bool { return c == Waiting })
		return w
	case n.Waiting > 0 && n.Open == 0 && s.paced():
		w = s.whyRate(fmt.Sprintf("%s of batch %d %s", DevicesText(n.Waiting), run.Batch, Verb(n.Waiting, "waits", "wait")))
		s.nameWhere(&w, func(c Class, _ *Place) bool { return c == Waiting })
		return w
	case n.Waiting > 0:
		w.Message = fmt.Sprintf("%s of batch %d %s yet to be given revision %d", DevicesText(n.Waiting), run.Batch, Verb(n.Waiting, "has", "have"), run.Target.Revision)
		s.nameWhere(&w, func(c Class, _ *Place) bool { return c == Waiting })
	case n.Open > 0 && !run.Full:
		return s.openDevices(n.Open)
	case s.set.WaitOffline && s.awaited() > 0:
		w.Message = fmt.Sprintf("%s of batch %d %s offline, and spec.rollout.offlineDevices says to wait for them", DevicesText(s.awaited()), run.Batch, Verb(s.awaited(), "is", "are"))
		s.nameWhere(&w, func(_ Class, p *Place) bool { return s.isAwaited(p) })
	case s.nowhere(n) > 0 && !run.Full:
		w.Kind = WaitDependency
		w.Message = fmt.Sprintf("%s of batch %d %s until what %s depends on is healthy there", DevicesText(s.nowhere(n)), run.Batch, Verb(s.nowhere(n), "waits", "wait"), s.name())
		if s.cycle {
			w.Message = s.name() + " depends on itself by way of spec.rollout.dependsOn"
		}
		s.nameWhere(&w, func(_ Class, p *Place) bool { return p.missing() })
	case s.unfilled(n) > 0 && !run.Full:
		w.Kind = WaitValue
		w.Message = fmt.Sprintf("%s of batch %d %s until the labels that the score names are there", DevicesText(s.unfilled(n)), run.Batch, Verb(s.unfilled(n), "waits", "wait"))
		s.nameWhere(&w, func(_ Class, p *Place) bool { return p.unfilled() })
	case n.Proven == 0 && run.Batch < len(run.Batches) && run.Batches[run.Batch-1].Size > 0 && !run.Full && !Immediate(run):
		w.Message = fmt.Sprintf("no device of batch %d has proven revision %d yet", run.Batch, run.Target.Revision)
	case s.judges() && !run.Full && s.set.NotHolding(run, s.at) != nil:
		g := s.set.NotHolding(run, s.at)
		return Wait{Kind: WaitGate, Name: g.Name, Sequence: run.Sequence, Message: fmt.Sprintf("the devices of batch %d are through, and %s", run.Batch, g.Tells(run))}
	default:
		return Wait{Kind: WaitOperator, Message: fmt.Sprintf("all devices of batch %d are through, and %s", run.Batch, goOn)}
	}
	return w
}

// openDevices: the open batch waits for devices that were given the target.
func (s *Survey) openDevices(open int) Wait {
	w := Wait{Kind: WaitSoak}
	var until time.Time
	soaking := 0
	s.nameWhere(&w, func(c Class, p *Place) bool {
		if c != Open {
			return false
		}
		if p.Pair.Succeeded() {
			soaking++
			if proven := p.Pair.Since.Add(s.soak(p.Batch)); proven.After(until) {
				until = proven
			}
		}
		return true
	})
	if soaking < open {
		w = Wait{Kind: WaitBatch}
		s.nameWhere(&w, func(c Class, p *Place) bool { return c == Open && !p.Pair.Succeeded() })
		w.Message = fmt.Sprintf("%s of batch %d %s at work on revision %d", DevicesText(open-soaking), s.d.Run.Batch, Verb(open-soaking, "is", "are"), s.d.Run.Target.Revision)
		return w
	}
	w.Until = &until
	w.Message = fmt.Sprintf("%s of batch %d %s to run revision %d well for %s more", DevicesText(open), s.d.Run.Batch, Verb(open, "has", "have"), s.d.Run.Target.Revision, span(until.Sub(s.at)))
	return w
}

// nameWhere names the devices of the open batch of which something holds.
func (s *Survey) nameWhere(w *Wait, holds func(Class, *Place) bool) {
	for _, p := range s.places {
		if p.Matches && p.Batch == s.d.Run.Batch && holds(p.Class, p) {
			w.name(p.Device.ID)
		}
	}
}

// awaited is how many devices of the open batch may still come back and be judged.
func (s *Survey) awaited() int {
	n := 0
	for _, p := range s.places {
		if p.Matches && p.Batch == s.d.Run.Batch && s.isAwaited(p) {
			n++
		}
	}
	return n
}

// nowhere is how many devices wait until a Deployment that they depend on comes or is
// healthy there, where the only batch of the run was given to nobody.
func (s *Survey) nowhere(of BatchCounts) int { return s.whereNobody(of, (*Place).missing) }

// unfilled is how many devices wait for labels that are filled in, where the only batch of
// the run was given to nobody.
func (s *Survey) unfilled(of BatchCounts) int { return s.whereNobody(of, (*Place).unfilled) }

func (s *Survey) whereNobody(of BatchCounts, waits func(*Place) bool) (n int) {
	if len(s.d.Run.Batches) > 1 || of.Given > 0 || Immediate(&s.d.Run) {
		return 0
	}
	for _, p := range s.places {
		if p.Matches && waits(p) {
			n++
		}
	}
	return n
}

// unfilled says whether an online device is given nothing before it has the labels that
// are filled in.
func (p *Place) unfilled() bool {
	return !p.Member && p.Online() && (p.Skipped == WaitValue || p.Skipped == WaitValueInvalid)
}

// missing says whether a device is given nothing before what it depends on comes, and is
// not Waiting: it is not there at all, or the device is offline and has nothing.
func (p *Place) missing() bool {
	return !p.Member && (p.Online() && p.Skipped == WaitDependency || !p.Online() && !p.Has && p.Blocked != "")
}

func (s *Survey) isAwaited(p *Place) bool {
	return !p.Online() && p.Skipped == "" && (p.Pair == nil || !p.Pair.Lost)
}

func (w *Wait) name(device string) {
	if len(w.Devices) < maxNamed {
		w.Devices = append(w.Devices, device)
	}
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
