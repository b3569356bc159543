// Package rollouttest is the rollout engine a second time: written by scanning, small
// enough to be read in one go, with a world of devices and people that drives it and
// the laws that its log must obey. The real engine must emit what this one emits.
//
// State changes by Apply alone, and Turn and Release decide without changing it. All
// times are seconds of the log's clock.
package rollouttest

import (
	"cmp"
	"math"
	"slices"

	"fleet.nationtech.io/eventlog"
)

// The numbers of the design, in seconds.
const (
	// Patience is how long a device reports Failed before the engine believes it.
	Patience = 60
	// OfflineTimeout is how long a new leader listens before it judges a batch.
	OfflineTimeout = 90
	// OfDay is what the clock of the world's hour shows at second 0.
	OfDay = 180
	// kept is how many revisions' contents undo --to-revision can go back to.
	kept = 10
	// maxRequests bounds the open requests of a Deployment.
	maxRequests = 8
)

// NoDeviceMatches is the reason of a run that completed with nobody to give it to: what
// it brings out is proven by nothing.
const NoDeviceMatches = "NoDeviceMatches"

// LogRestored is the model's own event: what is before it came from an archive. In
// the real log the stream's metadata say so.
const LogRestored eventlog.Type = "log.restored"

// What the API shows and no log has: a Device object that is not there any more, and the
// annotation by which a person lets a batch go on.
const (
	DeviceGone eventlog.Type = "device.gone"
	Annotated  eventlog.Type = "deployment.annotated"
)

// Answered is how a gate of the open batch was answered.
type Answered struct {
	Gate    Gate
	Verdict string
	Answers int
	Since   int64 // the stretch of answers began that pass, or that do not
	Last    int64
}

func (a *Answered) passes() bool { return a.Verdict == eventlog.GatePass }

func (a *Answered) stale(now int64) bool { return now-a.Last > 2*a.Gate.every(a.Answers) }

// Event is one event of the log. Turn and Release give events without Sequence and At.
type Event struct {
	Sequence int
	At       int64
	Type     eventlog.Type

	Deployment, Device, Budget string

	// Of inputs.
	Spec       Spec
	Labels     Labels
	Phase      eventlog.Phase // of state.reported
	Assignment int            // of which state.reported speaks
	Older      bool           // the agent does not say that: it names hash and revision, as Target
	Limit      Budget
	Request    Request
	Annotation Annotation

	// Of decisions.
	Kind    string
	Target  Target
	Plan    []Planned
	Shape   string
	Batch   int // from 1; 0: outside a run
	Reason  string
	Full    bool
	Answers int // the sequence of the request that it answers
	Gate    Gate
	Verdict string // of rollout.gate_measured

	// Not parts of the log: the row of the design's table that gave the event, and the
	// leader's clock when it did.
	Row     string
	Decided int64
}

// Request is what a person asks about a rollout, and what the author saw of it.
type Request struct {
	Sequence, Revision, Run, Batch, ToRevision int
	Verb                                       string
	Full                                       bool
}

// Phase is where a Deployment's run is.
type Phase string

// Phases of a run. A Rollback that is Progressing is what people call RollingBack.
// Superseded is noted for as long as the next run has not started.
const (
	Progressing Phase = "Progressing"
	Paused      Phase = "Paused"
	Completed   Phase = "Completed"
	RolledBack  Phase = "RolledBack"
	Aborted     Phase = "Aborted"
	Superseded  Phase = "Superseded"
)

// Run is one attempt to bring a target to the devices.
type Run struct {
	ID      int // the sequence of its rollout.started; 0: there was none
	Kind    string
	Target  Target
	Plan    []Planned
	Shape   string
	Batch   int // from 1
	BatchAt int64
	Phase   Phase
	Reason  string

	Passed   bool // the batch is judged, or a person lets it pass
	Failed   bool // the batch was judged and failed
	Approved bool // a person lets the run go on after the batch
	Free     bool // promoted in full: what is left is not judged
	Resumed  bool // a person let the run go on after a pause
	Stalled  bool // it was said that the batch does not get on

	Next      int64 // milliseconds: when the rate lets it give something again
	Succeeded int   // assignments of the run that were reported to run

	Answered map[string]*Answered // by the name of the open batch's gate
}

// gate gives how a gate was answered; nil: it was not, or it was another gate.
func (r *Run) gate(g Gate) *Answered {
	if a := r.Answered[g.Name]; a != nil && a.Gate == g {
		return a
	}
	return nil
}

// holding says whether all gates of the open batch hold.
func (d *Deployment) holding(now int64) bool {
	for _, g := range d.batch().Gates {
		if a := d.Run.gate(g); a == nil || !a.passes() || a.stale(now) || a.Last-a.Since < g.For {
			return false
		}
	}
	return true
}

// overdue gives how a gate was answered that did not pass for a whole deadline; nil: none.
func (d *Deployment) overdue() *Answered {
	for _, g := range d.batch().Gates {
		if a := d.Run.gate(g); a != nil && !a.passes() && a.Last-a.Since >= d.Spec.Deadline {
			return a
		}
	}
	return nil
}

// Deployment is what the log knows of one namespace/name.
type Deployment struct {
	Key, Name string
	Lifecycle eventlog.Type // deployment.applied, orphaned or deleted
	Applied   int           // sequence
	Spec      Spec
	Contents  []Target // of the last revisions, oldest first
	Stable    Target   // of the last run that completed, or to which a rollback goes
	Before    Target   // the stable one before it
	Refused   Content
	Hold      bool
	Run       Run
	Decided   int // sequence of the last event about its run
	Requests  []Request
	Annotated Annotation
}

// Pair is one Deployment's name on one device.
type Pair struct {
	Deployment string // that holds it; empty once withdrawn
	Leaving    string // that was withdrawn because of labels or selector, and is still reported
	Target     Target
	Run, Batch int   // that gave it
	Changed    int   // sequence of the assignment that last changed the hash
	At         int64 // when the device's deadline began
	Back       bool  // Since began because the device came online again
	Since      int64 // when the present one of healthy, failed and neither began

	Upset bool // the assignment replaced another hash on a device that was online
	Lost  bool // upset, and not healthy when it went offline
	Off   bool // written off

	Counted bool // among the successes of its run

	Phase eventlog.Phase // of the newest report; empty: none, or cleared
	Told  int            // the assignment of which that speaks

	Older  bool // the agent names hash and revision instead: Spoke, in the event ToldAt
	Spoke  Target
	ToldAt int
}

func (p *Pair) confirmed() bool {
	if p.Older {
		return p.Deployment != "" && p.Spoke == p.Target && p.ToldAt > p.Changed
	}
	return p.Deployment != "" && p.Told >= p.Changed
}

// Healthy is confirmed and Running.
func (p *Pair) Healthy() bool { return p.confirmed() && p.Phase == eventlog.PhaseRunning }

// Failed is confirmed and Failed.
func (p *Pair) Failed() bool { return p.confirmed() && p.Phase == eventlog.PhaseFailed }

// Device is what the log knows of one device.
type Device struct {
	ID     string
	Labels Labels // nil: it has no Device object
	Known  Labels // what the log last said of them
	Online bool
	Pairs  map[string]*Pair  // by the Deployment's name
	orders map[string]uint64 // by the Deployment's key
}

// disturbed says whether a name is unavailable on the device through us.
func (dev *Device) disturbed(p *Pair) bool {
	if p.Deployment == "" {
		return p.Leaving != "" && dev.Online && p.Phase != ""
	}
	return p.Upset && !p.Healthy() && !p.Off
}

// down is what a DisruptionBudget counts: once a device, for whatever reason.
func (dev *Device) down() bool {
	for _, p := range dev.Pairs {
		if dev.disturbed(p) || p.Failed() {
			return true
		}
	}
	return !dev.Online
}

// State is the fold of the log.
type State struct {
	Sequence    int
	At          int64
	Restored    int // the last sequence that came from an archive
	Deployments map[string]*Deployment
	Devices     map[string]*Device
	Budgets     map[string]Budget
}

// New makes the state of an empty log.
func New() *State {
	return &State{Deployments: map[string]*Deployment{}, Devices: map[string]*Device{}, Budgets: map[string]Budget{}}
}

// held gives the Deployment's pair on a device, nil where it does not hold the name.
func (d *Deployment) held(dev *Device) *Pair {
	if p := dev.Pairs[d.Name]; p != nil && p.Deployment == d.Key {
		return p
	}
	return nil
}

// on says whether a device has the run's target, as it is filled in for it now.
func (d *Deployment) on(dev *Device) bool {
	p := d.held(dev)
	return p != nil && d.Run.ID > 0 && p.Target.Same(d.Run.Target) && p.fits(dev)
}

// fits says whether what the device has is what would be filled in for it now.
func (p *Pair) fits(dev *Device) bool {
	value, ok := p.Target.Content.value(dev.Known)
	return ok && p.Target.Value == value
}

func (d *Deployment) selects(dev *Device) bool { return d.Spec.Selector.selects(dev.Labels) }

// paced says whether the run keeps to windows and rate.
func (r *Run) paced() bool { return r.Kind == eventlog.RunUpdate || r.Kind == eventlog.RunRestart }

// shut says whether the run waits for its windows.
func (d *Deployment) shut(now int64) bool { return d.Run.paced() && !d.Spec.Window.open(now) }

// rated says whether a rate bounds what the run gives.
func (d *Deployment) rated() bool { return d.Run.paced() && d.Spec.Rate.Devices > 0 }

// pace is how many devices the run may give something to now.
func (d *Deployment) pace(now int64) int {
	switch {
	case !d.rated():
		return math.MaxInt
	case now*1000 < d.Run.Next:
		return 0
	}
	return d.Spec.Rate.burst(d.Run.Succeeded)
}

// idle is since when a batch has not got on, as far as time in which it may.
func (d *Deployment) idle(v Verdict, now int64) int64 {
	return max(d.Run.BatchAt, v.Newest, d.opened(now))
}

// opened is when the windows of the run opened; 0: they are closed, or it has none.
func (d *Deployment) opened(now int64) int64 {
	if !d.Run.paced() {
		return 0
	}
	return d.Spec.Window.since(now)
}

// still says whether nothing may be replaced.
func (d *Deployment) still() bool { return d.Hold || d.Spec.Paused || d.Run.Phase == Paused }

// passed says whether the run may leave its batch, but for an approval.
func (d *Deployment) passed() bool {
	return d.Run.Passed || d.Run.Failed && d.Spec.OnFailure == eventlog.OnFailureContinue
}

// failed says whether the batch failed and what follows from that is not in the log
// yet.
func (d *Deployment) failed() bool { return d.Run.Failed && !d.passed() }

// unproven says whether the run ended before there was a device for it.
func (r *Run) unproven() bool { return r.Phase == Completed && r.Reason == NoDeviceMatches }

// turned says whether something else than the refused content of the spec is out.
func (d *Deployment) turned() bool {
	return d.Refused == d.Spec.Content && d.Run.Target.Content != d.Spec.Content
}

// devices gives all devices in the Deployment's order.
func (s *State) devices(d *Deployment) []*Device {
	devs := make([]*Device, 0, len(s.Devices))
	for _, dev := range s.Devices {
		devs = append(devs, dev)
	}
	slices.SortFunc(devs, func(a, b *Device) int { return cmp.Compare(a.orders[d.Key], b.orders[d.Key]) })
	return devs
}

// matches says whether the Deployment is for a device: it is selected, or has it and
// has no Device object that says otherwise.
func (d *Deployment) matches(dev *Device) bool {
	return d.selects(dev) || dev.Labels == nil && d.held(dev) != nil
}

// Matches says whether a device is one of the Deployment's.
func (d *Deployment) Matches(dev *Device) bool { return d.matches(dev) }

// matched counts the devices that match.
func (s *State) matched(d *Deployment) int {
	n := 0
	for _, dev := range s.Devices {
		if d.matches(dev) {
			n++
		}
	}
	return n
}
