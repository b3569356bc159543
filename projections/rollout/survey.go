package rollout

import (
	"cmp"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/template"
	"fleet.nationtech.io/projections/window"
)

// Survey is a Deployment on all the devices that it concerns, at one moment. It is found
// by looking at each device of a view; the operator keeps the same numbers by what
// changes, and decide.TestASurveyOfTheViewSaysWhatTheOperatorKeeps proves that they
// agree. It takes for a device's labels what the log recorded, so it is late by what
// the operator has not recorded yet.
type Survey struct {
	view *fleet.View
	d    *fleet.Deployment
	set  Settings
	at   time.Time

	hours window.State // how the windows are for the run

	byID   map[string]*Place
	places []*Place // the first in the Deployment's order first
	counts Counts
	cycle  bool // the Deployment depends on itself
	// What is filled in for each device, by the hash of the target; nil: nothing is.
	templates map[string]*template.Template
	budgets   []*budgetUse
	counted   bool // the budgets are
}

// Place is a Deployment on one device.
type Place struct {
	Device  *fleet.Device
	Pair    *fleet.Assignment // nil: nothing of the name was ever there
	Matches bool
	Has     bool // the Deployment is assigned there
	Member  bool // what is assigned there is the run's target, as it is filled in for the device now
	Batch   int  // of the run, from 1
	// Standing is how it fares, where it matches.
	Standing Standing
	// Class is how it counts in its batch.
	Class Class
	// Skipped is why it is not given the target as things stand; empty: it is.
	Skipped WaitKind
	// Blocked is the Deployment that it depends on and that is not healthy there.
	Blocked string

	rendering Rendering // of what it should have, else of the run's target
	order     uint64
	until     time.Time // when Class changes if nothing happens
}

// Online says whether the log has the device as online.
func (p *Place) Online() bool { return p.Device.Presence.Online == fleet.OnlineTrue }

// Counts are a Deployment's devices by how they stand in its rollout.
type Counts struct {
	Matched   int            // devices that match
	Online    int            // of them
	Standings [Standings]int // devices that match, by Standing; their sum is Matched
	// Disturbed counts the devices that are unavailable through the rollout, and
	// MaxUnavailable how many may be.
	Disturbed      int
	MaxUnavailable int
	Batches        []BatchCounts // of the run, the first one first
}

// BatchCounts are the devices of one batch of a run.
type BatchCounts struct {
	Devices int // that are in it now
	Given   int // Proven, Bad and Open together
	Proven  int // healthy and online for its soak
	Bad     int
	Open    int // given, neither proven nor bad
	Waiting int // online, and not given it yet
	Offline int
	Skipped int
}

// Count counts a Deployment's devices by how they stand at a moment of the log's clock.
func Count(v *fleet.View, d *fleet.Deployment, at time.Time) Counts { return Look(v, d, at).Counts() }

// Look surveys a Deployment at a moment of the log's clock.
func Look(v *fleet.View, d *fleet.Deployment, at time.Time) *Survey {
	s := &Survey{view: v, d: d, set: Fill(d.Settings), at: at, byID: map[string]*Place{}, templates: map[string]*template.Template{}}
	s.cycle = Cyclic(v, d.Key)
	s.hours = s.set.Hours(&d.Run, at)
	s.counts.Batches = make([]BatchCounts, len(d.Run.Batches))
	for _, dev := range v.Devices {
		p := s.look(dev)
		leaves := p.Pair != nil && p.Pair.Leaving() && *p.Pair.Key == d.Key
		if p.Has && p.Pair.Disturbed() || leaves {
			s.counts.Disturbed++
		}
		if p.Has || p.Matches || leaves {
			s.byID[dev.ID] = p
			s.places = append(s.places, p)
		}
		if p.Matches {
			s.count(p)
		}
	}
	s.counts.MaxUnavailable = s.set.MostUnavailable(s.counts.Matched)
	slices.SortFunc(s.places, func(a, b *Place) int {
		if c := cmp.Compare(a.order, b.order); c != 0 {
			return c
		}
		return cmp.Compare(a.Device.ID, b.Device.ID)
	})
	return s
}

// Settings are the Deployment's, with all defaults filled in.
func (s *Survey) Settings() *Settings { return &s.set }

// Counts are the devices that match by how they stand.
func (s *Survey) Counts() Counts { return s.counts }

// Places are the devices that match, have the Deployment or are losing it, in the order
// in which the Deployment goes to them.
func (s *Survey) Places() []*Place { return s.places }

// look finds out how a device stands.
func (s *Survey) look(dev *fleet.Device) *Place {
	d := s.d
	p := &Place{Device: dev, Pair: dev.Pair(d.Key.Name), order: fleet.Order(d.Key, dev.ID)}
	p.Has = p.Pair != nil && p.Pair.Deployment == d
	labels := selectors.Bare(dev.Labels)
	if p.Matches = matches(d, dev, labels, p.Has); !p.Matches {
		return p
	}
	p.Batch = s.set.BatchOn(d, p.order, p.Pair, labels)
	switch {
	case p.Pair != nil && p.Pair.Assigned() && !p.Has:
		p.Skipped = WaitNameConflict
	case dev.Labels == nil || eventlog.CheckName("device", dev.ID) != nil:
		p.Skipped = WaitNoDevice
	case !GoesBack(&d.Run, p.Has):
		p.Skipped, p.Blocked = s.dependencies(dev)
	}
	to := s.set.Target(d, p.Has, p.Batch)
	if to == nil {
		to = &d.Run.Target
	}
	p.rendering = Render(s.template(to), to, dev)
	p.Member = p.rendering.On(d, p.Pair)
	if reason := p.rendering.Skips(); p.Skipped == "" && reason != "" {
		p.Skipped, p.Blocked = WaitKind(reason), ""
	}
	p.Standing, _ = s.set.Stand(dev, p.Pair, p.Member, p.Skipped != "", s.at)
	switch {
	case p.Member:
		p.Class, p.until = s.set.Classify(p.Pair, s.soak(p.Batch), s.at)
	case p.Online() && p.Skipped == "":
		p.Class = Waiting
	}
	return p
}

// template gives what of a target is filled in for each device.
func (s *Survey) template(t *fleet.Target) *template.Template {
	tmpl, known := s.templates[t.Hash]
	if !known {
		tmpl = template.Of(t.Score)
		s.templates[t.Hash] = tmpl
	}
	return tmpl
}

// matches says whether a Deployment is for a device: its labels match, or it has the
// Deployment and no Device object says otherwise.
func matches(d *fleet.Deployment, dev *fleet.Device, labels map[string]string, has bool) bool {
	if dev.Labels == nil {
		return has
	}
	return !dev.Out() && selectors.Selects(d.Spec.Selector, labels)
}

// soak is that of a batch of the run. What is rolled back is through without one.
func (s *Survey) soak(batch int) time.Duration {
	if s.d.Run.Kind == eventlog.RunRollback {
		return 0
	}
	return s.set.Batch(&s.d.Run, batch).Soak
}

func (s *Survey) count(p *Place) {
	n := &s.counts
	n.Matched++
	n.Standings[p.Standing]++
	if p.Online() {
		n.Online++
	}
	if p.Batch < 1 || p.Batch > len(n.Batches) {
		return
	}
	b := &n.Batches[p.Batch-1]
	b.Devices++
	if !p.Online() {
		b.Offline++
	}
	switch {
	case p.Class == Proven:
		b.Proven++
	case p.Class.Bad():
		b.Bad++
	case p.Class == Open:
		b.Open++
	case p.Class == Waiting:
		b.Waiting++
	case p.Skipped != "" && !p.Member:
		b.Skipped++
	}
	b.Given = b.Proven + b.Bad + b.Open
}

// dependencies says whether the Deployments that this one depends on let it go to a
// device: skipped and the name of one that is not there at all, or blocked by one that is
// not healthy there.
func (s *Survey) dependencies(dev *fleet.Device) (skipped WaitKind, blocked string) {
	if s.cycle {
		return "", s.d.Key.Name
	}
	missing, blocked := s.set.Dependency(s.view, s.d.Key.Namespace, dev)
	if missing != "" {
		return WaitDependency, missing
	}
	return "", blocked
}
