// Package viewdiff lists in what two views of the fleet differ, and two specs, field
// by field. It is pure.
package viewdiff

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Verb says how two views of the fleet differ in something.
type Verb string

// What can have happened to something between two views.
const (
	Added   Verb = "added"
	Changed Verb = "changed"
	Removed Verb = "removed"
)

// Topic says what a change is about.
type Topic string

// The topics, in the order in which Between lists them: what a person asked for,
// the devices, what follows for each of them, and what they make of it.
const (
	AboutDeployment Topic = "deployment"
	AboutDevice     Topic = "device"
	AboutAssignment Topic = "assignment" // of a Deployment to a device, by the operator
	AboutState      Topic = "state"      // of a Deployment on a device, as the device reports it
)

var topics = []Topic{AboutDeployment, AboutDevice, AboutAssignment, AboutState}

// Change is one thing in which two views of the fleet differ.
type Change struct {
	Change     Verb    `json:"change"`
	About      Topic   `json:"about"`
	Namespace  string  `json:"namespace,omitempty"`
	Deployment string  `json:"deployment,omitempty"`
	Device     string  `json:"device,omitempty"`
	Fields     []Field `json:"fields,omitempty"`
}

// Between lists in what b differs from a, sorted: Deployments added, changed and
// ended; devices that came, went, turned or were relabelled; assignments made,
// changed and withdrawn; phases that devices report. Two views of one moment do
// not differ, however each was folded.
func Between(a, b *fleet.View) []Change {
	var out []Change
	for _, key := range union(a.Deployments, b.Deployments, fleet.Key.Compare) {
		out = append(out, deployment(key, facts(a.Deployments[key]), facts(b.Deployments[key]))...)
	}
	for _, id := range union(a.Devices, b.Devices, strings.Compare) {
		out = append(out, device(id, deviceFactsOf(a.Devices[id]), deviceFactsOf(b.Devices[id]))...)
	}
	return sorted(out)
}

// Applying folds an event into a view, as fleet.Apply does, and lists what that changed: what
// Between lists of the view before and the view after. err is what decoding the event gave. It
// keeps of the view before what an event can change: all Deployments, and the device that the
// event is about.
func Applying(v *fleet.View, e eventlog.Event, err error) []Change {
	id := e.Address.Device
	before, was := make(map[fleet.Key]deploymentFacts, len(v.Deployments)), deviceFactsOf(v.Devices[id])
	for key, d := range v.Deployments {
		before[key] = facts(d)
	}
	fleet.Apply(v, e, err)
	out := device(id, was, deviceFactsOf(v.Devices[id]))
	for key, d := range v.Deployments { // none is ever taken out of a view
		out = append(out, deployment(key, before[key], facts(d))...)
	}
	return sorted(out)
}

// sorted puts changes into the order in which they are listed.
func sorted(all []Change) []Change {
	slices.SortStableFunc(all, func(a, b Change) int {
		if a.About != b.About {
			return slices.Index(topics, a.About) - slices.Index(topics, b.About)
		}
		for _, c := range []int{
			strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Deployment, b.Deployment), strings.Compare(a.Device, b.Device),
		} {
			if c != 0 {
				return c
			}
		}
		return 0
	})
	return all
}

// Present says whether a Deployment is there: applied, or orphaned, and not
// ended; or its resource is, and the operator refused to record it.
func Present(d *fleet.Deployment) bool {
	return d != nil && (d.Lifecycle == fleet.Applied || d.Lifecycle == fleet.Orphaned || d.Refused != nil)
}

// Known says whether a device is one of the fleet's: it reported itself, was
// registered, holds a Deployment or reports one, and was not decommissioned. What
// is known of others is just that somebody spoke of them.
func Known(d *fleet.Device) bool {
	if d == nil || d.Decommissioned {
		return false
	}
	if d.Info != nil || d.Registered {
		return true
	}
	for p := range d.Assignments {
		if p.Assigned() || p.Reported.Sequence > 0 {
			return true
		}
	}
	return false
}

func verb(before, after bool) Verb {
	switch {
	case !before:
		return Added
	case !after:
		return Removed
	}
	return Changed
}

// change makes a Change, or none where nothing differs.
func change(c Change, before, after bool, fields ...[]Field) []Change {
	if !before && !after {
		return nil
	}
	c.Change, c.Fields = verb(before, after), slices.Concat(fields...)
	switch c.Change {
	case Changed:
		if len(c.Fields) == 0 {
			return nil
		}
	case Added, Removed:
		c.Fields = oneSided(c.Fields, c.Change == Added)
	}
	return []Change{c}
}

// oneSided leaves of fields what is said of something that is on one side alone:
// the zeros of the other side are no values, and what is empty says nothing.
func oneSided(fields []Field, added bool) []Field {
	var out []Field
	for _, f := range fields {
		said := f.Before
		if added {
			said, f.Before = f.After, nil
		} else {
			f.After = nil
		}
		if text := string(said); text != "" && text != "0" && text != "{}" {
			out = append(out, f)
		}
	}
	return out
}

func deployment(key fleet.Key, x, y deploymentFacts) []Change {
	return change(Change{About: AboutDeployment, Namespace: key.Namespace, Deployment: key.Name}, x.present, y.present,
		TextFields("lifecycle", x.lifecycle, y.lifecycle),
		TextFields("refused", x.refused, y.refused),
		number("revision", x.Revision, y.Revision),
		Fields("selector", x.selector, y.selector),
		Fields("score", x.Score, y.Score),
		Fields("rollout", x.Rollout, y.Rollout),
		TextFields("status.rollout", x.rollout, y.rollout),
		number("status.matched", x.counts.Matched, y.counts.Matched),
		number("status.succeeded", x.counts.Succeeded, y.counts.Succeeded),
		number("status.failed", x.counts.Failed, y.counts.Failed),
		number("status.pending", x.counts.Pending, y.counts.Pending))
}

// deploymentFacts are what is compared of a Deployment; the zero value is that of
// one that is not there. A later event of the Deployment does not change them.
type deploymentFacts struct {
	present bool
	eventlog.Deployment
	lifecycle, refused, rollout string
	selector                    []byte
	counts                      fleet.Counts
}

func facts(d *fleet.Deployment) deploymentFacts {
	if !Present(d) {
		return deploymentFacts{}
	}
	f := deploymentFacts{
		present: true, Deployment: d.Spec, lifecycle: string(d.Lifecycle), rollout: rolloutText(d),
		selector: JSON(d.Spec.Selector), counts: d.Counts,
	}
	if d.Refused != nil {
		f.refused = d.Refused.Reason + ": " + d.Refused.Message
	}
	return f
}

// rolloutText is how far a Deployment's rollout has got: what it does, the open batch of
// several, and what keeps it.
func rolloutText(d *fleet.Deployment) string {
	run := &d.Run
	if run.Phase == fleet.PhaseNone {
		return ""
	}
	text := string(run.Phase)
	if run.Kind != "" {
		text = run.Kind + " " + text
	}
	if run.ID > 0 && (run.Kind == eventlog.RunRollback || run.Target.Revision != d.Spec.Revision) {
		text += fmt.Sprintf(", revision %d", run.Target.Revision)
	}
	if n := len(run.Batches); n > 1 && (run.Phase.Moving() || run.Phase == fleet.PhasePaused) {
		text += fmt.Sprintf(", batch %d of %d", run.Batch, n)
	}
	if run.Reason != "" && !run.Phase.Moving() {
		text += " (" + run.Reason + ")"
	}
	if d.Hold != nil {
		text += ", on hold"
		if d.Hold.By != "" {
			text += " by " + d.Hold.By
		}
	}
	return text
}

// device compares a device, and what is known of Deployments on it.
func device(id string, x, y deviceFacts) []Change {
	out := change(Change{About: AboutDevice, Device: id}, x.known, y.known,
		TextFields("online", x.online, y.online),
		TextFields("reason", x.reason, y.reason),
		TextFields("access", x.access, y.access),
		Fields("labels", x.labels, y.labels),
		Fields("inventory", x.inventory, y.inventory),
		TimeFields("key_expires", x.keyExpires, y.keyExpires))
	for _, name := range union(x.assignments, y.assignments, strings.Compare) {
		out = append(out, assignment(id, name, x.assignments[name], y.assignments[name])...)
	}
	return out
}

// deviceFacts are what is compared of a device; the zero value is that of one that the log does
// not know. A later event does not change them.
type deviceFacts struct {
	known                  bool
	assignments            map[string]assignmentFacts // also those of a device that is not known
	online, reason, access string
	labels, inventory      []byte
	keyExpires             time.Time
}

func deviceFactsOf(d *fleet.Device) (f deviceFacts) {
	if d == nil {
		return f
	}
	f.assignments = map[string]assignmentFacts{}
	for p := range d.Assignments {
		f.assignments[p.Name] = assignmentFactsOf(p)
	}
	if f.known = Known(d); !f.known {
		return f
	}
	f.online, f.reason = string(d.Presence.Online), d.Presence.Reason
	if d.Access != nil {
		f.access = strings.TrimSuffix("revoked: "+d.Access.Reason, ": ")
	}
	values := make(map[string]string, len(d.Labels))
	for k, l := range d.Labels {
		values[k] = l.Value
	}
	f.labels = JSON(values)
	if d.Info != nil {
		f.inventory, f.keyExpires = JSON(d.Info.Inventory), d.Info.KeyExpires
	}
	return f
}

// assignment compares one Deployment's name on one device: what should run there, and
// what the device says of it.
func assignment(device, name string, x, y assignmentFacts) []Change {
	holder := y.namespace
	if holder == "" {
		holder = x.namespace
	}
	c := Change{Namespace: holder, Deployment: name, Device: device}
	assigned, state := c, c
	assigned.About, state.About = AboutAssignment, AboutState
	if !x.assigned || !y.assigned {
		x.holder, y.holder = "", "" // the change says it
	}
	out := change(assigned, x.assigned, y.assigned,
		TextFields("namespace", x.holder, y.holder),
		number("revision", x.desired.Revision, y.desired.Revision),
		TextFields("score_hash", x.desired.Hash, y.desired.Hash))
	return append(out, change(state, x.reported.Sequence > 0, y.reported.Sequence > 0,
		TextFields("phase", string(x.reported.Phase), string(y.reported.Phase)),
		TextFields("reason", x.reported.Reason, y.reported.Reason),
		TextFields("error", x.reported.Error, y.reported.Error),
		number("revision", x.reported.Revision, y.reported.Revision))...)
}

// assignmentFacts are what is compared of a Deployment's name on a device; the zero value is that
// of one that the log does not know.
type assignmentFacts struct {
	namespace string // of the Deployment that was spoken of last
	reported  fleet.Reported
	assigned  bool
	holder    string        // the namespace of the Deployment that is assigned
	desired   fleet.Desired // zero unless assigned
}

func assignmentFactsOf(p *fleet.Assignment) assignmentFacts {
	f := assignmentFacts{namespace: p.Namespace, reported: p.Reported, assigned: p.Assigned()}
	if f.assigned {
		f.holder, f.desired = p.Deployment.Key.Namespace, p.Desired
	}
	return f
}

func union[K comparable, V any](a, b map[K]V, compare func(K, K) int) []K {
	all := make(map[K]struct{}, max(len(a), len(b)))
	for k := range a {
		all[k] = struct{}{}
	}
	for k := range b {
		all[k] = struct{}{}
	}
	return slices.SortedFunc(maps.Keys(all), compare)
}

// JSON encodes a value of ours, whose maps have strings for keys; it cannot fail.
func JSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // plain structs and maps of strings
	}
	return b
}
