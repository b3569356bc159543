package timeline

import (
	"fmt"
	"iter"
	"strconv"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

// OfDeployment tells a Deployment's history: each change of its spec with who
// asked for it, what differs from the one before, how the rollout went and what
// came of it on the devices; its ends and returns, and what persons asked. The
// events are those of DeploymentSubjects, or more. It fails with what reading
// them fails with.
func OfDeployment(events iter.Seq2[eventlog.Event, error], key fleet.Key, o Options) (*History, error) {
	f := &deploymentTimeline{
		h:   &History{Kind: KindDeployment, Namespace: key.Namespace, Name: key.Name, AsHappened: o.AsHappened},
		key: key, o: o, view: fleet.New(), ids: map[string]uint64{}, held: map[string]struct{}{}, gates: map[string]string{},
	}
	if err := o.Each(events, f.fold); err != nil {
		return nil, err
	}
	f.end(nil)
	if f.last.Sequence > 0 {
		f.h.Until = PositionOf(f.last)
	}
	if d := f.view.Deployments[key]; d != nil {
		f.h.Lifecycle = d.Lifecycle
	}
	return f.h, nil
}

// deploymentTimeline folds a Deployment's history. Its view has the predicates and the
// counts, so that a history cannot disagree with a status.
type deploymentTimeline struct {
	h     *History
	key   fleet.Key
	o     Options
	view  *fleet.View
	ids   map[string]uint64   // of events that others name as their cause
	held  map[string]struct{} // the devices that it is assigned to
	spec  *eventlog.Deployment
	reign *reign
	last  Record
	// batches is how many the run has.
	batches int
	gates   map[string]string // the last verdicts about the open batch, by the gate's name
}

// reign is the time in which one change holds.
type reign struct {
	entry    int // its place in the history
	revision uint64
	ended    bool // it is an end: what it does is withdraw
	at       time.Time
	planned  int                 // devices that the rollout was to reach
	done     map[string]struct{} // devices that succeeded with this revision
	leaving  map[string]struct{} // devices that lost it, and have not said that it is gone
	outcome  Outcome
}

func newReign(entry int, at time.Time) *reign {
	return &reign{entry: entry, at: at, done: map[string]struct{}{}, leaving: map[string]struct{}{}}
}

func (f *deploymentTimeline) fold(r Record) {
	family := r.Address.Family
	if !f.o.Fold(f.view, r) {
		if family != eventlog.FamilyDevice && family != eventlog.FamilyAccess {
			f.h.Foreign++
		}
		return
	}
	f.last = r
	switch family {
	case eventlog.FamilyDeployment:
		if (fleet.Key{Namespace: r.Address.Namespace, Name: r.Address.Name}) == f.key {
			f.know(r)
			f.deployment(r)
		}
	case eventlog.FamilyRequest:
		f.request(r)
	case eventlog.FamilyDesired:
		f.desired(r)
	case eventlog.FamilyState:
		f.state(r)
	}
}

// know keeps an event that others may name as their cause.
func (f *deploymentTimeline) know(r Record) {
	if r.ID != "" {
		f.ids[r.ID] = r.Sequence
	}
}

// add appends an entry and returns its place.
func (f *deploymentTimeline) add(r Record, e Entry) int {
	e.Position, e.Type, e.Cause, e.TraceID = PositionOf(r), r.Type, f.ids[r.CausationID], r.TraceID()
	f.h.Entries = append(f.h.Entries, e)
	return len(f.h.Entries) - 1
}

func (f *deploymentTimeline) deployment(r Record) {
	switch r.Type {
	case eventlog.DeploymentApplied:
		f.applied(r)
		return
	case eventlog.DeploymentDeleted, eventlog.DeploymentOrphaned, eventlog.DeploymentAdopted:
		f.turned(r)
		return
	case eventlog.DeploymentRefused:
		f.refused(r)
		return
	}
	f.rollout(r)
}

func (f *deploymentTimeline) applied(r Record) {
	spec, err := eventlog.Payload[eventlog.Deployment](r.Event)
	if err != nil {
		return // the view counted it as foreign
	}
	f.end(&r)
	text := fmt.Sprintf("revision %d", spec.Revision)
	if f.spec != nil && f.spec.Revision == spec.Revision {
		text += " applied again"
	}
	at := f.add(r, Entry{
		Text: text, Who: Requester(spec), Revision: spec.Revision, ChangeCause: spec.ChangeCause, Changes: viewdiff.SpecFields(f.spec, spec),
	})
	f.spec = &spec
	f.reign = newReign(at, r.At)
	f.reign.revision = spec.Revision
	for p := range f.view.Deployments[f.key].Assigned {
		if p.Desired.Revision == spec.Revision && p.Succeeded() {
			f.reign.done[p.Device.ID] = struct{}{}
		}
	}
}

// refused is a spec that the operator could not record.
func (f *deploymentTimeline) refused(r Record) {
	p, err := eventlog.Payload[eventlog.Refusal](r.Event)
	if err != nil {
		return
	}
	e := Entry{Reason: p.Reason, Text: "generation " + strconv.FormatInt(p.Generation, 10) + " was refused: " + p.Message}
	if f.spec != nil {
		e.Revision = f.spec.Revision
	}
	f.add(r, e)
}

// turned is an end, or the return from one.
func (f *deploymentTimeline) turned(r Record) {
	p, err := eventlog.Payload[eventlog.DeploymentEnd](r.Event)
	if err != nil {
		return
	}
	e := Entry{Reason: p.Reason}
	if f.spec != nil {
		e.Revision = f.spec.Revision
	}
	switch r.Type {
	case eventlog.DeploymentOrphaned:
		e.Text = "orphaned: its custom resource is missing, and the operator saw no deletion; devices are left as they are"
		f.add(r, e)
	case eventlog.DeploymentAdopted:
		e.Text = "adopted: its custom resource is there again"
		f.add(r, e)
	default:
		f.end(&r)
		// No admission policy sees who deletes; a request is signed by its subject.
		e.Who = actor(r.Actor)
		e.Text = "deleted, as was asked"
		if e.Who.Name == "" {
			e.Text = "deleted"
		}
		f.reign = newReign(f.add(r, e), r.At)
		f.reign.ended = true
	}
}

func (f *deploymentTimeline) request(r Record) {
	p, err := eventlog.Payload[eventlog.Request](r.Event)
	if err != nil || r.Address.Namespace != f.key.Namespace || r.Address.Name != f.key.Name {
		return
	}
	f.know(r)
	f.add(r, Entry{
		Text: RequestText(p), Who: actor(r.Address.User), ChangeCause: p.Reason,
	})
}

func (f *deploymentTimeline) desired(r Record) {
	device := r.Address.Device
	if r.Namespace != f.key.Namespace || r.Address.Deployment != f.key.Name || f.reign == nil {
		return
	}
	if r.Type == eventlog.DesiredAssigned {
		f.held[device] = struct{}{}
		f.look(r)
		return
	}
	if _, ok := f.held[device]; ok { // else it is said again
		delete(f.held, device)
		delete(f.reign.done, device)
		f.reign.leaving[device] = struct{}{}
		f.reign.outcome.Withdrawn++
	}
}

func (f *deploymentTimeline) state(r Record) {
	if r.Address.Deployment != f.key.Name || f.reign == nil {
		return
	}
	if r.Type == eventlog.StateReported {
		f.look(r)
		return
	}
	if _, ok := f.reign.leaving[r.Address.Device]; ok {
		delete(f.reign.leaving, r.Address.Device)
		f.reign.outcome.Gone++
	}
}

func (f *deploymentTimeline) assignment(device string) *fleet.Assignment {
	if d := f.view.Devices[device]; d != nil {
		return d.Pair(f.key.Name)
	}
	return nil
}

// look heeds what became of one device.
func (f *deploymentTimeline) look(r Record) {
	g, d, p := f.reign, f.view.Deployments[f.key], f.assignment(r.Address.Device)
	if g.ended || d == nil || p == nil || p.Deployment != d || p.Desired.Revision != g.revision {
		return
	}
	after := Between(g.at, r.At)
	if p.Failed() && g.outcome.FirstFailure == nil {
		g.outcome.FirstFailure = &Failure{
			Position: PositionOf(r), Device: p.Device.ID, Reason: p.Reported.Reason, Error: p.Reported.Error, After: after,
		}
	}
	if !p.Succeeded() {
		delete(g.done, p.Device.ID)
		return
	}
	g.done[p.Device.ID] = struct{}{}
	if matched := d.Counts.Matched; g.outcome.AllSucceeded == nil && len(g.done) == matched && matched >= g.planned {
		g.outcome.AllSucceeded = &after
	}
}

// end closes the time of the change that holds, at the next one or (nil) at the
// end of the history.
func (f *deploymentTimeline) end(next *Record) {
	g := f.reign
	if g == nil {
		return
	}
	f.reign = nil
	o := &g.outcome
	if next != nil {
		lasted := Between(g.at, next.At)
		o.Lasted, o.Next = &lasted, next.Sequence
	}
	f.h.Entries[g.entry].Outcome = o
	for p := range f.view.Deployments[f.key].Assigned {
		o.Matched++
		reached := p.Desired.Revision == g.revision && !g.ended
		switch {
		case reached && p.Succeeded():
			o.Succeeded++
			continue
		case reached && p.Failed():
			o.Failed++
		default:
			o.Pending++
		}
		if p.Device.Presence.Online == fleet.OnlineFalse {
			o.Offline++
		}
	}
}
