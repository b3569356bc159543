package rollouttest

import (
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// Verdict is how a batch fares.
type Verdict struct {
	Given, Proven, Bad, Open int   // of those that were given the target, and of which something can be said
	Waiting                  int   // online, and to be given it
	Ready                    int   // of them, those whose dependencies are healthy
	Offline                  int   // may still come back and be judged
	Missing                  int   // what they depend on is not there; or they are offline, have nothing, and it is not healthy
	Unfilled                 int   // online, and without the label that is filled in
	Newest                   int64 // when the newest deadline began
}

// Judge looks at the devices of the open batch.
func (s *State) Judge(d *Deployment, now int64) (v Verdict) {
	soak := d.batch().Soak
	for _, dev := range s.Devices {
		if !d.matches(dev) || d.batchOf(dev) != d.Run.Batch {
			continue
		}
		p := d.held(dev)
		given := d.on(dev)
		if p != nil && p.Target.Same(d.Run.Target) {
			v.Newest = max(v.Newest, p.At)
		}
		if !dev.Online && s.skipped(d, dev) == "" && (p == nil || !p.Lost) {
			v.Offline++
		}
		switch {
		case given && dev.Online && p.Healthy() && p.Back && now-p.At >= d.Spec.Deadline+soak && now-p.Since < soak: // it was away
		case given && (dev.Online || p.Upset && !p.Healthy() || p.Failed()):
			v.Given++
			switch {
			case s.bad(d, dev, p, now, soak):
				v.Bad++
			case p.Healthy() && now-p.Since >= soak:
				v.Proven++
			default:
				v.Open++
			}
		case !given && dev.Online && s.skipped(d, dev) == "":
			v.Waiting++
			if s.depends(d, dev) == "" {
				v.Ready++
			}
		case !given && dev.Online && s.skipped(d, dev) == "DependencyMissing":
			v.Missing++
		case !given && dev.Online && s.skipped(d, dev) == "TemplateValueMissing":
			v.Unfilled++
		case !given && !dev.Online && p == nil && (s.skipped(d, dev) == "DependencyMissing" || s.skipped(d, dev) == "" && s.depends(d, dev) != ""):
			v.Missing++
		}
	}
	return v
}

// bad: believed to have failed; silent or lost at its deadline; or it flaps.
func (s *State) bad(d *Deployment, dev *Device, p *Pair, now, soak int64) bool {
	late := now-p.At >= d.Spec.Deadline
	switch {
	case p.Healthy():
		return dev.Online && now-p.At >= d.Spec.Deadline+soak && now-p.Since < soak
	case p.Failed():
		return late || now-p.Since >= min(Patience, d.Spec.Deadline)
	}
	return late && (dev.Online || p.Upset)
}

// rollback counts what a rollback still has to give, as waiting, and what is at work on
// it, as open.
func (s *State) rollback(d *Deployment, now int64) (v Verdict) {
	for _, dev := range s.Devices {
		p := d.held(dev)
		switch {
		case p == nil || !d.matches(dev) || !dev.Online:
		case !d.on(dev):
			if p.Target.Same(d.Run.Target) {
				v.Newest = max(v.Newest, p.At)
			}
			if s.skipped(d, dev) == "" {
				v.Waiting++
			}
		default:
			v.Newest = max(v.Newest, p.At)
			if !p.Healthy() && now-p.At < d.Spec.Deadline {
				v.Open++
			}
		}
	}
	return v
}

// Target is what a device should have now, and the batch of the run that gives it; nil:
// it keeps what it has.
func (s *State) Target(d *Deployment, dev *Device) (to *Target, batch int) {
	r, p := &d.Run, d.held(dev)
	batch = d.batchOf(dev)
	back := r.Kind == eventlog.RunRollback
	switch {
	case d.Lifecycle != eventlog.DeploymentApplied || r.ID == 0 || !d.matches(dev) || d.Spec.Paused:
		return nil, 0
	case p != nil && (d.still() || d.failed()):
		return nil, 0 // catching up waits, too
	case r.Phase == Progressing && (back || !d.Hold && !d.failed() && batch <= r.Batch):
		return &r.Target, batch
	case r.Phase == RolledBack || r.Phase == Completed && !r.unproven():
		return &r.Target, 0
	case p == nil && d.Stable.Content != "" && d.Stable.Content != d.Refused:
		return &d.Stable, 0
	}
	return nil, 0
}

// Standings of a device in a run. They are a partition of those that match.
const (
	Healthy  = "healthy"
	Skipped  = "skipped"
	Failed   = "failed"
	Offline  = "offline"
	Updating = "updating"
	Waiting  = "waiting"
)

// Standing is how a device fares: the first that holds.
func (s *State) Standing(d *Deployment, dev *Device, now int64) string {
	p := d.held(dev)
	on := d.on(dev)
	switch {
	case on && p.Healthy():
		return Healthy
	case !on && s.skipped(d, dev) != "":
		return Skipped
	case on && (p.Failed() || p.Lost && !p.Off || dev.Online && now-p.At >= d.Spec.Deadline):
		return Failed
	case !dev.Online:
		return Offline
	case on:
		return Updating
	}
	return Waiting
}

// Standings counts the devices that match by their standing.
func (s *State) Standings(d *Deployment, now int64) (counts map[string]int, matched int) {
	counts = map[string]int{}
	for _, dev := range s.Devices {
		if d.matches(dev) {
			counts[s.Standing(d, dev, now)]++
		}
	}
	return counts, s.matched(d)
}

// skipped says why a device will not be given the Deployment as things stand.
func (s *State) skipped(d *Deployment, dev *Device) string {
	p := dev.Pairs[d.Name]
	switch {
	case dev.Labels == nil:
		return "NoDeviceObject"
	case p != nil && p.Deployment != "" && p.Deployment != d.Key:
		return "NameConflict"
	case s.depends(d, dev) == "DependencyMissing":
		return "DependencyMissing"
	}
	to, _ := s.Target(d, dev)
	if to == nil {
		to = &d.Run.Target
	}
	if _, ok := to.Content.value(dev.Known); !ok {
		return "TemplateValueMissing"
	}
	return ""
}

// depends says why a device must wait for what the Deployment depends on: empty, it
// need not.
func (s *State) depends(d *Deployment, dev *Device) string {
	if d.Run.Kind == eventlog.RunRollback && d.held(dev) != nil {
		return "" // what it has may be what broke the other
	}
	if s.cyclic(d) {
		return "DependencyCycle"
	}
	why := ""
	for _, key := range d.Spec.DependsOn {
		_, name, _ := strings.Cut(key, "/")
		p, on := dev.Pairs[name], s.Deployments[key]
		switch {
		case on == nil || p == nil || p.Deployment != key:
			return "DependencyMissing"
		case !p.Target.Same(on.Run.Target) || !p.Healthy():
			why = "DependencyUnhealthy"
		}
	}
	return why
}

// cyclic says whether a Deployment depends on itself.
func (s *State) cyclic(d *Deployment) bool {
	seen, next := map[string]bool{}, d.Spec.DependsOn
	for len(next) > 0 {
		key := next[0]
		next = next[1:]
		if key == d.Key {
			return true
		}
		if on := s.Deployments[key]; on != nil && !seen[key] && on.Lifecycle != eventlog.DeploymentDeleted {
			next = append(slices.Clone(next), on.Spec.DependsOn...)
		}
		seen[key] = true
	}
	return false
}
