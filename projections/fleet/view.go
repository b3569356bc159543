// Package fleet folds the event log into the fleet as it is, or as it was at any
// sequence. The operator, the command line and the dashboards all use this one
// fold, so they cannot disagree.
package fleet

import (
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
)

// View is the fleet at one sequence of the log. Apply changes it in place, so
// it has one owner; see Follower for sharing one. The zero View is not usable:
// call New.
type View struct {
	Sequence uint64    // of the last event folded
	Recorded time.Time // its timestamp in the log
	// Clock is the log's clock: the highest Recorded so far. A server whose clock is
	// behind makes it stand still.
	Clock time.Time

	Leader      Leader
	Deployments map[Key]*Deployment
	Devices     map[string]*Device
	Budgets     map[string]*Budget // the DisruptionBudgets, by name; replaced by Apply, never changed

	// Renumbered says that the events are not folded by their sequences in the log, so
	// that the sequence which a report names means nothing here.
	Renumbered bool

	// Foreign counts the messages that the fold skipped, by family ("" where
	// the subject is none of the log's).
	Foreign map[eventlog.Family]uint64

	named    map[string][]*Deployment // those of a name, in whatever namespace
	changes  *Changes                 // for Drain; nil unless tracked
	watchers []*Changes               // changes too, where it is there
	strings  map[string]string        // values that repeat a lot, kept once
	keep     eventlog.Keep            // does so while a report is decoded
}

// Named gives the Deployments that the log knows by a name, one a namespace. They
// are the view's own: read them.
func (v *View) Named(name string) []*Deployment { return v.named[name] }

// Position is where in the log the view stands.
func (v *View) Position() eventlog.Position {
	return eventlog.Position{Sequence: v.Sequence, Recorded: v.Recorded}
}

// Key names a Deployment.
type Key struct{ Namespace, Name string }

// String is namespace/name, as kubectl writes it.
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Leader is the last election in the log. Its sequence is the fencing token.
type Leader struct {
	eventlog.Leader
	Sequence uint64
	At       time.Time
}

// Lifecycle is where a Deployment is between apply and delete.
type Lifecycle string

// A Deployment in the log is applied, then deleted (an observed
// deletionTimestamp, or a person's withdrawal) or orphaned (its CR is simply not
// there). Only the first ends it on devices.
const (
	Applied  Lifecycle = "Applied"
	Orphaned Lifecycle = "Orphaned"
	Deleted  Lifecycle = "Deleted"
)

// Deployment is what the log knows of one namespace/name.
type Deployment struct {
	Key       Key
	Lifecycle Lifecycle
	Spec      eventlog.Deployment // the last applied
	Created   time.Time           // when the log first heard of the resource that it speaks of
	Applied   Mark                // the event that applied it
	Changed   Mark                // the last event on its subject
	Withdraw  *Request            // a person's request to end it that is still open
	Refused   *eventlog.Refusal   // why the newest spec of its resource is not in the log; nil: it is

	// Rollout is the last rollout event of the current revision.
	Rollout Rollout

	// Settings is spec.rollout, as its author wrote it.
	Settings eventlog.RolloutSettings
	Run      Run
	Stable   Target // that of the last run that completed or was rolled back; its Content is empty where there is none
	Before   Target // that before it
	Rejected string // the hash of content that is not tried again; empty: none
	Hold     *Hold
	Requests []Request // about its rollout, still open, the oldest first; at most MaxRequests
	Contents []Content // of its last revisions, the newest last; at most MaxContents

	Counts Counts

	pairs      []*Assignment // in no order; each knows its place
	lastFailed *Assignment
	staleError bool // lastFailed no longer fails: look for another when asked
}

// Mark is where in the log something was said.
type Mark struct {
	Sequence uint64
	ID       string
	At       time.Time
}

// Request is what a person asked of the operator.
type Request struct {
	eventlog.Request
	User string
	Mark Mark
}

// Rollout is the last word of the log about a revision's rollout.
type Rollout struct {
	Last     eventlog.Type // empty: never started
	Revision uint64
	Strategy string
	Devices  int
	Reason   string
	At       time.Time
}

// Counts are a Deployment's devices by how they fare; docs/status.md has the
// predicates. Matched is the number of devices that the log assigned it to.
type Counts struct {
	Matched   int
	Updated   int
	Succeeded int
	Failed    int
	Pending   int
	// Offline counts the devices that are offline and did not succeed.
	Offline int
	// FailedOnline counts the failed ones that are not offline.
	FailedOnline int
}

// Assigned iterates over the devices that the Deployment is assigned to.
func (d *Deployment) Assigned(yield func(*Assignment) bool) {
	for _, p := range d.pairs {
		if !yield(p) {
			return
		}
	}
}

// LastFailed is the pair with the newest failing report, nil when none fails.
func (d *Deployment) LastFailed() *Assignment {
	if d.staleError {
		d.staleError, d.lastFailed = false, nil
		for _, p := range d.pairs {
			if p.Failed() && (d.lastFailed == nil || p.Reported.Sequence > d.lastFailed.Reported.Sequence) {
				d.lastFailed = p
			}
		}
	}
	return d.lastFailed
}

// Device is what the log knows of one device. What each report touches comes
// first: a fleet is larger than a processor's cache, and so it is one miss less.
type Device struct {
	ID      string
	pairs   []*Assignment // by name
	unknown int           // of them, those that the log never assigned
	// Decommissioned, until access.allowed: what it reports is foreign.
	Decommissioned bool
	Traffic        Traffic
	Presence       Presence
	Identity       Identity

	Registered   bool
	RegisteredAt time.Time // when it last was; zero if never
	// Leaving is a person's request to decommission it that is still open.
	Leaving *Request
	// Late names what it reported since it was decommissioned and the operator has
	// not cleared: Deployments, and LateInfo for what it said of itself. Sorted, and
	// at most MaxLate.
	Late []string

	Info         *eventlog.DeviceInfo // the last report, nil before the first
	InfoSequence uint64
	// Labels are those that select, with their owners: what the log last said.
	Labels   map[string]eventlog.OwnedLabel
	LabelsID string           // id of the event that set them
	Access   *eventlog.Access // set while access is revoked
	// AccessRequest is a person's request to revoke or to allow its access that the
	// operator has not decided on.
	AccessRequest *Request

	// LastDesired is the sequence of the last desired event of the device: a
	// sync answer is complete when it reaches it.
	LastDesired uint64
}

// Online says whether a device's pulse is heard. Before the operator's first
// verdict it is unknown.
type Online string

// The three states of presence.
const (
	OnlineUnknown Online = ""
	OnlineTrue    Online = "Online"
	OnlineFalse   Online = "Offline"
)

// Presence is the last verdict about a device's pulse.
type Presence struct {
	Online   Online
	Reason   string
	LastSeen time.Time
	Since    time.Time // when the verdict was reached
}

// Assignments iterates over all that the log knows of Deployments on the device,
// withdrawn and unknown ones included, by their names.
func (d *Device) Assignments(yield func(*Assignment) bool) {
	for _, p := range d.pairs {
		if !yield(p) {
			return
		}
	}
}

// Assignment gives what the log knows of a Deployment's name on the device, or nil.
func (d *Device) Pair(name string) *Assignment {
	if i, ok := d.find(name); ok {
		return d.pairs[i]
	}
	return nil
}

// find gives the place of a name among the pairs, or the one that it would take.
func (d *Device) find(name string) (int, bool) {
	return slices.BinarySearchFunc(d.pairs, name, func(p *Assignment, name string) int { return strings.Compare(p.Name, name) })
}

// Assignment is one Deployment's name on one device: what it should run and what it
// reports.
type Assignment struct {
	// Key has the name; and the namespace of the Deployment which the last desired
	// event spoke of, empty where the log never knew one. Pairs share it, so it is
	// not to be changed.
	*Key
	Device *Device
	// Deployment holds the place while assigned; nil once withdrawn, and where
	// the log never knew what the device reports.
	Deployment *Deployment
	Desired    Desired
	Reported   Reported

	Since Moment // when the present verdict began: succeeded, failed or neither
	Begun Moment // when its deadline began
	Batch int32  // of the run that gave it, as the assignment says; 0: outside of one
	// place is where the Deployment holds the pair.
	place int32
	// Upset: what is desired replaced another content there while the device was online.
	Upset bool
	// Lost: it was upset, and went offline before it succeeded.
	Lost bool
	// WrittenOff: it was lost when its batch was judged.
	WrittenOff bool
	// Returned: Since began because the device came online again, and ran it already.
	Returned bool
	// Counted: it succeeded, and is among those that its run counted.
	Counted bool
	// Gone: it was withdrawn because of labels or the selector, not with its Deployment.
	Gone bool
	// old: what was reported names no hash, and happened before what is desired
	// was, though the log has it after.
	old bool
}

// Desired is the last thing that the log said should run.
type Desired struct {
	Sequence uint64 // 0: the log never knew it
	// Changed is the sequence of the assignment that brought the hash: a later one
	// of the same hash, with another number, unsettles no device.
	Changed uint64
	Hash    string // empty once withdrawn
	// Template is the hash of the score from which it was rendered for the device; nil
	// where all devices get the same. Few pairs have one, and a nil takes half of an empty
	// text.
	Template *string
	Revision uint64
	At       Moment // by the operator's clock
	Recorded Moment // by the log's
}

// Reported is the last thing that the device said of it.
type Reported struct {
	Sequence uint64 // 0: nothing, or cleared
	Phase    eventlog.Phase
	Hash     string
	Reason   string
	Error    string
	Revision uint64
	// Assignment is the sequence of the desired value that it speaks of; 0 where the
	// agent did not say it.
	Assignment uint64
	At         Moment // by the device's clock
	Recorded   Moment // by the log's
}

// Has says whether what is assigned there came from a target, whichever values were
// filled in for the device. It is so for what is literally the target's too.
func (p *Assignment) Has(t *Target) bool {
	if from := p.Desired.Template; from != nil {
		return *from == t.Hash
	}
	return p.Desired.Hash == t.Hash
}

// Assigned says whether the log wants the Deployment on the device.
func (p *Assignment) Assigned() bool { return p.Deployment != nil }

// Withdrawn says whether the log took it off the device. What was never
// assigned was never withdrawn either.
func (p *Assignment) Withdrawn() bool { return p.Deployment == nil && p.Desired.Sequence > 0 }

// Updated: the device reported score_hash equal to the hash of its desired
// value; a report without one, from an older agent, counts if it is later in
// the log than the assignment.
func (p *Assignment) Updated() bool {
	if p.Deployment == nil || p.Reported.Sequence == 0 {
		return false
	}
	if p.Reported.Hash == "" {
		return p.Reported.Sequence > p.Desired.Sequence && !p.old
	}
	return p.Reported.Hash == p.Desired.Hash
}

// Confirmed: the report speaks of what is desired now, not of an earlier
// assignment of the same score: it names an assignment at or after the one that
// brought the hash. One that names none, from an older agent, is later in the log
// than that assignment, and no earlier revision's. A report without a hash confirms
// nothing.
func (p *Assignment) Confirmed() bool {
	d, r := &p.Desired, &p.Reported
	switch {
	case p.Deployment == nil || r.Hash == "" || r.Hash != d.Hash:
		return false
	case r.Assignment > 0:
		return r.Assignment >= d.Changed
	}
	return (r.Revision == 0 || r.Revision == d.Revision) && r.Sequence > d.Changed && !p.old
}

// Answered: the device spoke of what is desired now: the report is confirmed, or
// has no hash, as those of the oldest agents, and is later than the assignment.
func (p *Assignment) Answered() bool {
	return p.Confirmed() || p.Reported.Hash == "" && p.Updated()
}

// Succeeded: answered, and Running.
func (p *Assignment) Succeeded() bool {
	return p.Reported.Phase == eventlog.PhaseRunning && p.Answered()
}

// Failed: answered, and Failed.
func (p *Assignment) Failed() bool { return p.Reported.Phase == eventlog.PhaseFailed && p.Answered() }

// Disturbed: unavailable through a rollout.
func (p *Assignment) Disturbed() bool {
	return p.Deployment != nil && p.Upset && !p.WrittenOff && !p.Succeeded()
}

// Down: the device is not online, or something on it is unavailable through a rollout
// or failed, or was withdrawn and is still there. A DisruptionBudget counts it once.
func (d *Device) Down() bool {
	if d.Presence.Online != OnlineTrue {
		return true
	}
	for _, p := range d.pairs {
		if p.Disturbed() || p.Failed() || p.Leaving() {
			return true
		}
	}
	return false
}

// Leaving: it was withdrawn from an online device though its Deployment goes on, and
// the device has not taken it off.
func (p *Assignment) Leaving() bool {
	return p.Withdrawn() && p.Gone && p.Reported.Sequence > 0 && p.Device.Presence.Online == OnlineTrue
}

// New makes the view of an empty log.
func New() *View {
	v := &View{
		Deployments: map[Key]*Deployment{},
		Budgets:     map[string]*Budget{},
		named:       map[string][]*Deployment{},
		Devices:     map[string]*Device{},
		Foreign:     map[eventlog.Family]uint64{},
		strings:     map[string]string{},
	}
	v.keep = v.internBytes
	return v
}

// Changes remembers which Deployments and devices of a view changed.
type Changes struct {
	deployments map[*Deployment]struct{}
	devices     map[*Device]struct{}
}

// Drain gives the Deployments and devices that changed since it was last called, and
// forgets them.
func (c *Changes) Drain() (deployments []Key, devices []string) {
	for d := range c.deployments {
		deployments = append(deployments, d.Key)
	}
	for d := range c.devices {
		devices = append(devices, d.ID)
	}
	empty(&c.deployments)
	empty(&c.devices)
	return deployments, devices
}

// empty empties a map. One that was large is made anew: to look through it would cost
// as much for ever.
func empty[K comparable](m *map[K]struct{}) {
	if len(*m) > 1024 {
		*m = map[K]struct{}{}
		return
	}
	clear(*m)
}

// Watch makes the view remember what Apply changes, for one who asks.
func (v *View) Watch() *Changes {
	c := &Changes{deployments: map[*Deployment]struct{}{}, devices: map[*Device]struct{}{}}
	v.watchers = append(v.watchers, c)
	return c
}

// Track makes the view remember what Apply changes, for Drain.
func (v *View) Track() {
	if v.changes == nil {
		v.changes = v.Watch()
	}
	v.changes.Drain()
}

// Drain gives the Deployments and devices that changed since it was last
// called, and forgets them. Without Track it gives none.
func (v *View) Drain() (deployments []Key, devices []string) {
	if v.changes == nil {
		return nil, nil
	}
	return v.changes.Drain()
}
