// Package timeline lists what happened to one Deployment or one device: what, when,
// who asked for it, and what came of it. It is pure: events in, values out.
package timeline

import (
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

// Kinds of what has a history.
const (
	KindDeployment = "Deployment"
	KindDevice     = "Device"
)

// History is what happened to one Deployment or one device, oldest first.
type History struct {
	Kind      string          `json:"kind"` // Deployment or Device
	Namespace string          `json:"namespace,omitempty"`
	Name      string          `json:"name"`
	Lifecycle fleet.Lifecycle `json:"lifecycle,omitempty"` // of a Deployment: Applied, Orphaned or Deleted
	Until     Position        `json:"until"`               // the last event that was read
	// AsHappened says that entries are in the order in which things happened, not
	// in that in which the log learned of them.
	AsHappened bool    `json:"as_happened,omitempty"`
	Entries    []Entry `json:"entries"`
	// Foreign counts messages about it that could not be understood; see
	// `fleetctl log --type foreign`.
	Foreign int `json:"foreign,omitempty"`
}

// Position is where in the log something stands.
type Position struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"` // when it happened, see eventlog.Event.Happened
	Recorded time.Time `json:"recorded"`
}

// Entry is one thing that happened. Fields that a type of event does not have
// are left out.
type Entry struct {
	Position
	Type eventlog.Type `json:"type"`
	Text string        `json:"text"` // what happened, in words
	Who  *Who          `json:"who,omitempty"`
	// Cause is the event that this one names as its cause, where the history
	// knows it.
	Cause uint64 `json:"cause,omitempty"`
	// TraceID is the trace that the event names: 32 hexadecimal digits.
	TraceID string `json:"trace_id,omitempty"`

	Deployment  string         `json:"deployment,omitempty"` // of a device's entry: NAMESPACE/NAME, or NAME where none tells the namespace
	Service     string         `json:"service,omitempty"`
	Revision    uint64         `json:"revision,omitempty"`
	ChangeCause string         `json:"change_cause,omitempty"`
	Phase       eventlog.Phase `json:"phase,omitempty"`
	Reason      string         `json:"reason,omitempty"`
	Error       string         `json:"error,omitempty"`

	After float64 `json:"after_seconds,omitempty"` // how long what it ends had lasted
	Took  float64 `json:"took_seconds,omitempty"`  // what it says that it took

	// Repeats counts how often the same was said again; Last is the last time, and
	// Error what was said then.
	Repeats int    `json:"repeats,omitempty"`
	Last    uint64 `json:"last,omitempty"`

	// Of a rollout's entry: the batch that it is about, of how many, what was counted
	// when it was judged, and the worst of its devices.
	Batch    int                      `json:"batch,omitempty"`
	Batches  int                      `json:"batches,omitempty"`
	Counts   *eventlog.RolloutCounts  `json:"counts,omitempty"`
	Examples []eventlog.DeviceExample `json:"examples,omitempty"`

	Changes []viewdiff.Field `json:"changes,omitempty"` // what differs from before
	Rollout []Milestone      `json:"rollout,omitempty"` // of deployment.applied
	Outcome *Outcome         `json:"outcome,omitempty"` // of deployment.applied and deleted
}

// Milestone is how far a rollout got, and when.
type Milestone struct {
	Position
	Type    eventlog.Type `json:"type"`
	Kind    string        `json:"kind,omitempty"` // of the run
	Batch   int           `json:"batch,omitempty"`
	Devices int           `json:"devices"`
	Reason  string        `json:"reason,omitempty"`
	After   float64       `json:"after_seconds"` // since the revision was applied
}

// Outcome is what came of a change on the devices by the time of the next one,
// or by the moment of the history. docs/status.md has the predicates.
type Outcome struct {
	Matched   int `json:"matched"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Pending   int `json:"pending"`
	Offline   int `json:"offline"` // of the failed and the pending

	// Withdrawn counts the devices that lost it in that time, Gone those of them
	// that said that they have nothing left of it.
	Withdrawn int `json:"withdrawn,omitempty"`
	Gone      int `json:"gone,omitempty"`

	// AllSucceeded is the time from the change to the moment when every device
	// had succeeded; nil if that never was.
	AllSucceeded *float64 `json:"all_succeeded_after_seconds,omitempty"`
	FirstFailure *Failure `json:"first_failure,omitempty"`

	// Lasted is the time until the change that took its place; nil for the last.
	Lasted *float64 `json:"lasted_seconds,omitempty"`
	Next   uint64   `json:"next,omitempty"` // that change
}

// Failure is the first report of a device that failed.
type Failure struct {
	Position
	Device string  `json:"device"`
	Reason string  `json:"reason,omitempty"`
	Error  string  `json:"error,omitempty"`
	After  float64 `json:"after_seconds"`
}

// Options say on which of the two axes of time a history is told.
type Options struct {
	// AsHappened tells what devices say where it happened, however late the log
	// learned of it.
	AsHappened bool
	// Until, with AsHappened, leaves out what happened later. Zero is no limit.
	Until time.Time
	// AsOf is the sequence of the log up to which the events were read, to be
	// cited where there is nothing. Zero is that of the last event.
	AsOf uint64
}

// Between is a duration on one axis, never negative: clocks are set back.
func Between(a, b time.Time) float64 { return max(0, b.Sub(a).Seconds()) }
