package decide

import (
	"maps"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// placeValues are what a place adds to its placement's counts.
type placeValues struct {
	matches   bool
	on        bool // it has the run's target, as it is filled in for it now
	online    bool
	gone      bool // the log says that it is offline
	down      bool
	failed    bool // was given the target and reports that it failed
	failure   string
	disturbed bool
	stray     bool
	unheard   bool // a stray of which the device never said anything: nothing is known to run there
	fresh     bool
	owes      bool
	free      bool // it has the target's content under another number
	unlearnt  bool // what it is to get follows from labels that the log does not have yet
	broken    bool // what it has is unavailable through a rollout, or failed
	judged    bool
	awaited   bool // offline, and not lost
	missing   bool // it is given nothing before what it depends on comes, and is not counted as waiting
	unfilled  bool // it is online, and given nothing before it has the labels that are filled in
	depends   bool // an Immediate run would give it the target, and waits for what it depends on
	batch     int
	standing  rollout.Standing
	class     rollout.Class
	skipped   string // reason
	blocked   string // the Deployment that it depends on and that is not healthy there, or where it is skipped, not there
	until     time.Time
	begun     fleet.Moment // of a device that the open batch gave the target: when its deadline began
}

// classify finds out how a device stands now, and changes the counts accordingly.
func (s *State) classify(p *place) {
	p.account(-1)
	p.values = s.valuesOf(p)
	p.account(+1)
	s.enqueue(p)
}

// classifyAll looks at a Deployment on each of its devices.
func (s *State) classifyAll(pl *placement) {
	for _, p := range pl.places {
		s.classify(p)
	}
}

// account adds a place to the counts of its placement, or takes it away.
func (p *place) account(n int) {
	pl, v := p.of, &p.values
	if v.matches {
		pl.matched += n
		pl.standings[v.standing] += n
		if v.online {
			pl.online += n
		}
		if v.failed {
			pl.failed += n
			if !v.gone {
				pl.failedOnline += n
			}
		}
		if v.gone && v.standing != rollout.Healthy {
			pl.absent += n
		}
		if v.depends {
			pl.depends += n
		}
		pl.failures.note(p, v.failure, n)
		if v.standing == rollout.Skipped {
			pl.skips.note(p, v.skipped, n)
		}
	}
	if v.judged {
		pl.classes[v.class] += n
		if !v.online {
			pl.offline += n
		}
		if v.class == rollout.Open && v.failed {
			pl.failing += n
		}
		if v.awaited {
			pl.awaited += n
		}
		if v.class == rollout.Waiting && v.blocked != "" {
			pl.blocked += n
		}
		if v.missing {
			pl.missing += n
		}
		if v.unfilled {
			pl.unfilled += n
		}
	}
	pl.noteBegun(v.begun, n)
	if v.disturbed {
		pl.disturbed += n
	}
}

// valuesOf looks at a device in a Deployment.
func (s *State) valuesOf(p *place) (v placeValues) {
	pl, now := p.of, s.Clock()
	log, run := pl.phase.log, &pl.phase.log.Run
	if p.dev == nil {
		p.dev = s.view.Devices[p.id]
	}
	dev, pair := p.dev, p.pair()
	has := pair != nil && pair.Deployment == log
	v.matches = s.matches(p, has)
	v.online = dev != nil && dev.Presence.Online == fleet.OnlineTrue
	v.gone = dev != nil && dev.Presence.Online == fleet.OnlineFalse
	v.down = dev == nil || dev.Down()
	v.broken = has && (pair.Disturbed() || pair.Failed())
	v.disturbed = has && pair.Disturbed() || pair != nil && pair.Leaving() && *pair.Key == pl.key
	if !v.matches {
		v.stray = has && p.labels != nil && !s.outOf(p) && maps.Equal(dev.Labels, p.labels.owned) // the log learns the labels first
		v.unheard = v.stray && pair.Reported.Sequence == 0
		return v
	}
	v.batch = pl.set.BatchOn(log, p.order, pair, p.labelSet())
	target := pl.set.Target(log, has, v.batch)
	gets, learnt := s.rendering(p, target)
	on := gets.On(log, pair)
	v.on = on
	switch {
	case pair != nil && pair.Assigned() && !has:
		v.skipped = v1alpha1.ReasonNameConflict
	case p.labels == nil || !p.nameable:
		v.skipped = v1alpha1.ReasonNoDeviceObject
	case !rollout.GoesBack(run, has):
		v.skipped, v.blocked = s.dependencies(pl, dev)
	}
	if reason := gets.Skips(); v.skipped == "" && learnt && reason != "" {
		v.skipped, v.blocked = reason, ""
	}
	var standsUntil, classUntil time.Time
	v.standing, standsUntil = pl.set.Stand(dev, pair, on, v.skipped != "", now)
	v.failed = on && pair.Failed()
	v.failure = failureOf(pair, v.standing)
	if target != nil && v.skipped == "" {
		differs := !has || pair.Desired.Hash != gets.Hash
		switch {
		case !learnt: // the log learns the labels first
			v.unlearnt = true
		case !has: // what another Deployment of the name has just let go, it gets once the device took that off
			v.fresh = v.blocked == "" && !s.outOf(p) && (pair == nil || !pair.Leaving())
		case differs:
			v.owes = v.online || rollout.Immediate(run) && !s.budgeted(p.id)
		default:
			v.free = pair.Desired.Revision != target.Revision || !pair.Has(target)
		}
	}
	waits := v.online && (v.owes || v.unlearnt || v.free && !on || target != nil && !has && v.skipped == "")
	switch {
	case rollout.Immediate(run):
		v.depends = run.Phase == fleet.PhaseProgressing && v.online && !on && v.blocked != ""
	case run.Phase == fleet.PhaseRollingBack:
		v.judged = true
		deadline := time.Time{}
		if on {
			deadline = pair.Begun.Add(pl.set.Deadline)
		}
		switch {
		case waits && has:
			v.class = rollout.Waiting
		case on && v.online && !pair.Succeeded() && now.Before(deadline):
			v.class, classUntil = rollout.Open, deadline
		}
	case run.Phase == fleet.PhaseProgressing && v.batch == run.Batch:
		v.judged = true
		v.awaited = !v.online && v.skipped == "" && (pair == nil || !pair.Lost)
		v.unfilled = !on && v.online && v.skipped != "" && v.skipped == gets.Skips()
		v.missing = !on && (v.online && v.skipped == v1alpha1.ReasonDependencyMissing || !v.online && !has && v.blocked != "")
		switch {
		case on:
			v.class, classUntil = pl.set.Classify(pair, pl.set.Batch(run, run.Batch).Soak, now)
		case waits:
			v.class = rollout.Waiting
		}
	}
	if v.judged && rollout.Member(log, pair) && (v.online || run.Phase != fleet.PhaseRollingBack) {
		v.begun = pair.Begun
	}
	v.until = standsUntil
	if v.until.IsZero() || !classUntil.IsZero() && classUntil.Before(v.until) {
		v.until = classUntil
	}
	return v
}

// dependencies says whether the Deployments that a placement depends on let it go to a
// device: skipped and the name of one that is not there at all, or blocked by the name of
// one that is not healthy there on its own target.
func (s *State) dependencies(pl *placement, dev *fleet.Device) (skipped, blocked string) {
	if len(pl.set.DependsOn) == 0 {
		return "", ""
	}
	if pl.cyclic(s) {
		return "", v1alpha1.ReasonDependencyCycle // it waits, for to skip its devices would complete the run
	}
	missing, blocked := pl.set.Dependency(s.view, pl.key.Namespace, dev)
	if missing != "" {
		return v1alpha1.ReasonDependencyMissing, missing
	}
	return "", blocked
}

// nowhere says whether the run's only batch has nothing to give to anybody before a
// Deployment comes, or is healthy, that it depends on, or before a device has the labels
// that are filled in. To succeed would be to complete
// without a device: what comes then would get it past all judgement. Devices that went
// offline meanwhile (a site's power cut) change nothing about that.
func (pl *placement) nowhere() bool {
	run, given := &pl.phase.log.Run, 0
	for c := rollout.Waiting; c < rollout.Classes; c++ {
		given += pl.classes[c]
	}
	return pl.missing+pl.unfilled > 0 && given == 0 && len(run.Batches) == 1
}

// cyclic says whether the Deployment depends on itself.
func (pl *placement) cyclic(s *State) bool {
	return len(pl.set.DependsOn) > 0 && rollout.Cyclic(s.view, pl.key)
}

// batchOf is the batch that an assignment names: that of the device, where what it
// is given is what a moving run brings out.
func (p *place) batchOf(t *fleet.Target) int {
	run := &p.of.phase.log.Run
	if !run.Phase.Moving() || t != &run.Target || run.ID == 0 {
		return 0
	}
	return p.values.batch
}

// labelSet are the labels that select.
func (p *place) labelSet() map[string]string {
	if p.labels == nil {
		return nil
	}
	return p.labels.set
}
