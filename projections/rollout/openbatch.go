package rollout

import (
	"fmt"
	"time"
)

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
