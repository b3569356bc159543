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
	Trace    Trace

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
	LabelsID string // id of the event that set them
	// LabelsSequence is the sequence of that event.
	LabelsSequence uint64
	Access         *eventlog.Access // set while access is revoked
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
