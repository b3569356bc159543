package migration

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// EventSource is the ce-source of the events of an import.
const EventSource = "import"

// Options say how a source is turned into events.
type Options struct {
	Namespace  string            // of Deployments that Namespaces does not name
	Namespaces map[string]string // by the Deployment's name
	Actor      string            // who imports
	Now        time.Time
}

func (o Options) namespace(deployment string) string {
	return cmp.Or(o.Namespaces[deployment], o.Namespace)
}

// Target is what the log holds already.
type Target struct {
	View *fleet.View
	// Imported holds the ids of the events that imports appended.
	Imported map[string]bool
	// Last is the last event of each subject that an entry can become.
	Last map[string]Last
	// Revisions has the revision of each content that a Deployment had.
	Revisions map[fleet.Key]map[string]uint64
	// Pulses has the last pulse of each device.
	Pulses map[string]Last
}

// Last is the last message of a subject.
type Last struct {
	Imported bool // an import wrote it
	Removal  bool
	Data     []byte
}

// NewTarget is a log that is empty.
func NewTarget() Target {
	return Target{
		View: fleet.New(), Imported: map[string]bool{}, Last: map[string]Last{},
		Revisions: map[fleet.Key]map[string]uint64{}, Pulses: map[string]Last{},
	}
}

// Event is one to append, with its id.
type Event struct {
	ID    string
	Draft eventlog.Draft
}

// Pulse is a device's last heartbeat, which is no event.
type Pulse struct {
	Subject, Cause string
	Data           []byte
}

// Count is what becomes of the entries of one bucket.
type Count struct {
	Entries  int `json:"entries"`
	New      int `json:"new"`      // to be imported, or just imported
	Present  int `json:"present"`  // imported before, or in the log all the same
	Refused  int `json:"refused"`  // see the refusals
	Kept     int `json:"kept"`     // the log has a newer one, from the device itself
	Deleted  int `json:"deleted"`  // delete markers that say nothing to the log
	Respelt  int `json:"respelt"`  // desired values whose JSON is not in canonical form: the same content in other bytes
	Verified int `json:"verified"` // the bucket of the log has the same
}

// Deployment is what an import makes of the desired values of one name.
type Deployment struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Devices   int               `json:"devices"`
	Revision  uint64            `json:"revision"` // of its newest score
	Behind    int               `json:"behind"`   // devices with another score than the newest
	Selector  eventlog.Selector `json:"selector"`
	Guessed   string            `json:"guessed_by,omitempty"` // how the selector was found; empty: the log has the Deployment
}

// Plan is what an import does.
type Plan struct {
	Events      []Event
	Pulses      []Pulse
	Counts      map[string]*Count // by bucket
	Refused     []Finding
	Notes       []Finding
	Deployments []Deployment

	// want is what the log's buckets are to hold of each entry, by bucket and key; nil
	// data is a delete marker.
	want map[string]map[string][]byte
}

// planner makes a plan.
type planner struct {
	Plan
	o       Options
	source  Source
	target  Target
	labels  fleetLabels
	content map[fleet.Key][]content
	marked  map[string]map[string]bool // by device: the labels that mark it
	desired map[string]bool            // keys of the source's desired values
}

// content is one score that devices have of a Deployment.
type content struct {
	hash     string
	data     []byte
	newest   time.Time // when the source last gave it to a device
	devices  int
	revision uint64
}

// NewPlan says what is to be appended so that the log holds what a source holds. It is
// pure: the same source gives the same events in the same order, less those that the
// target has.
func NewPlan(source Source, target Target, o Options) Plan {
	p := &planner{o: o, source: source, target: target, labels: fleetLabels{}, content: map[fleet.Key][]content{}, marked: map[string]map[string]bool{}, desired: map[string]bool{}}
	p.Counts, p.want = map[string]*Count{}, map[string]map[string][]byte{}
	for _, b := range eventlog.Buckets() {
		p.Counts[b], p.want[b] = &Count{}, map[string][]byte{}
	}
	items := p.understand()
	p.applyDeployments(items)
	for _, it := range items {
		p.take(it)
	}
	byKey := func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Bucket, b.Bucket), cmp.Compare(a.Key, b.Key))
	}
	slices.SortFunc(p.Refused, byKey)
	slices.SortFunc(p.Notes, byKey)
	return p.Plan
}

func (p *planner) refuse(f *Finding) {
	p.Refused = append(p.Refused, *f)
	if c := p.Counts[f.Bucket]; c != nil {
		c.Refused++
	}
}

// understand reads all entries, and gives those that can become events in the order in
// which the source got them.
func (p *planner) understand() []item {
	var items []item
	for _, e := range p.source.Entries {
		c := p.Counts[e.Bucket]
		if c == nil {
			continue // none of the four
		}
		c.Entries++
		it, f := read(e)
		switch {
		case f != nil && e.Deleted:
			c.Deleted++ // nothing was there that had a name
		case f != nil:
			p.refuse(f)
		default:
			items = append(items, it)
		}
	}
	for id, d := range p.target.View.Devices {
		if d.Info != nil {
			p.labels[id] = selectable(d.Info.Labels)
		}
	}
	for _, it := range items {
		switch {
		case it.Bucket == eventlog.BucketInfo && !it.Deleted:
			p.labels[it.device] = selectable(labelsOf(it))
		case it.Bucket == eventlog.BucketDesired:
			p.desired[it.Key] = true
		}
	}
	items = slices.DeleteFunc(items, func(it item) bool {
		f := p.outside(it)
		if f != nil && !it.Deleted {
			p.refuse(f)
		} else if f != nil {
			p.Counts[it.Bucket].Deleted++
		}
		return f != nil
	})
	order := map[string]int{eventlog.BucketInfo: 0, eventlog.BucketDesired: 1, eventlog.BucketState: 2, eventlog.BucketHeartbeat: 3}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(order[a.Bucket], order[b.Bucket]), cmp.Compare(a.Key, b.Key))
	})
	return items
}

func labelsOf(it item) map[string]string {
	e, err := eventlog.Decode(it.subject, nil, it.data, 1, it.Created)
	if err != nil {
		return nil
	}
	i, err := e.Info()
	if err != nil {
		return nil
	}
	return i.Labels
}

// outside says why an entry is about something that is not in the fleet.
func (p *planner) outside(it item) *Finding {
	if d := p.target.View.Devices[it.device]; d != nil && d.Decommissioned {
		return it.finding(ReasonDeviceLeft, "the log says that device %s was decommissioned; to take it in again: fleetctl device allow %s", it.device, it.device)
	}
	if _, known := p.labels[it.device]; !known {
		return it.finding(ReasonUnknownDevice, "device %s has no valid entry in bucket %s", it.device, eventlog.BucketInfo)
	}
	if it.Bucket == eventlog.BucketDesired {
		key := p.key(it)
		if d := p.target.View.Deployments[key]; d != nil && d.Lifecycle == fleet.Deleted {
			return it.finding(ReasonEnded, "the log says that Deployment %s was deleted", key)
		}
	}
	return nil
}

func (p *planner) key(it item) fleet.Key {
	return fleet.Key{Namespace: p.o.namespace(it.deployment), Name: it.deployment}
}

// draft is an event of an entry, with where it came from.
func (p *planner) draft(it item, subject string, t eventlog.Type, data []byte) eventlog.Draft {
	return eventlog.Draft{
		Subject: subject, Type: t, Time: it.Created, Data: data, Actor: p.o.Actor,
		CorrelationID: "import:" + p.source.Origin, CausationID: causeOf(it.Entry),
	}
}

// causeOf names an entry of the source.
func causeOf(e Entry) string { return fmt.Sprintf("%s@%d", e.Bucket, e.Revision) }

// add plans an event, unless an earlier run appended it. It says whether it did not.
func (p *planner) add(it item, d eventlog.Draft) (added bool) {
	e := Event{ID: id(p.source.Origin, string(d.Type), it.Key, it.Revision, it.Created, d.Data), Draft: d}
	if p.target.Imported[e.ID] {
		return false
	}
	p.Events = append(p.Events, e)
	return true
}

// take plans what becomes of an entry.
func (p *planner) take(it item) {
	c := p.Counts[it.Bucket]
	if it.says.After(p.o.Now.Add(clockTolerance)) {
		p.Notes = append(p.Notes, *it.finding(ReasonClockAhead, "the value names the moment %s, which is in the future; it is imported as it is", it.says.UTC().Format(time.RFC3339)))
	}
	switch it.Bucket {
	case eventlog.BucketDesired:
		p.takeDesired(it, c)
	case eventlog.BucketHeartbeat:
		p.takePulse(it, c)
	default:
		p.takeReport(it, c)
	}
}

// clockTolerance is how far a device's clock may be ahead without a note.
const clockTolerance = 5 * time.Minute

func (p *planner) takeDesired(it item, c *Count) {
	key := p.key(it)
	last, known := p.target.Last[it.subject]
	same := known && last.Removal == it.Deleted && string(last.Data) == string(it.data)
	switch {
	case known && !last.Imported && !same && !it.Deleted:
		p.refuse(it.finding(ReasonAlreadyDecided, "the log has another desired value for the device, which an operator decided"))
		return
	case known && !last.Imported && !same:
		c.Deleted++
		return
	}
	p.want[it.Bucket][it.Key] = it.data
	if !it.Deleted && string(it.data) != string(it.Value) {
		c.Respelt++
	}
	if same {
		c.Present++
		return
	}
	d := p.draft(it, it.subject, eventlog.DesiredAssigned, it.data)
	d.Namespace = key.Namespace
	if it.Deleted {
		d.Type, d.Data = eventlog.DesiredWithdrawn, nil
	} else {
		d.Revision = p.revisionOf(key, eventlog.Hash(it.data))
	}
	p.count(c, p.add(it, d))
}

func (p *planner) count(c *Count, added bool) {
	if added {
		c.New++
	} else {
		c.Present++
	}
}

func (p *planner) takeReport(it item, c *Count) {
	if it.Deleted {
		c.Deleted++
		return
	}
	last, known := p.target.Last[it.subject]
	switch {
	case known && !last.Imported:
		c.Kept++
		p.Notes = append(p.Notes, *it.finding(ReasonNewerInLog, "the device has reported to the log itself since; that is kept"))
		return
	case known && !last.Removal && string(last.Data) == string(it.data):
		c.Present++
	case it.Bucket == eventlog.BucketInfo:
		p.count(c, p.add(it, p.draft(it, it.subject, eventlog.InfoReported, it.data)))
	default:
		p.count(c, p.add(it, p.draft(it, it.subject, eventlog.StateReported, it.data)))
	}
	p.want[it.Bucket][it.Key] = it.data
	if it.Bucket == eventlog.BucketInfo {
		p.register(it)
	} else if !p.assigned(it) {
		p.Notes = append(p.Notes, *it.finding(ReasonNotAssigned, "the device reports Deployment %s and has no desired value of it; the operator leaves it alone", it.deployment))
	}
}

// assigned says whether the device has a desired value of what it reports, or a delete
// marker of one.
func (p *planner) assigned(it item) bool {
	_, inLog := p.target.Last[eventlog.DesiredSubject(it.device, it.deployment)]
	return inLog || p.desired[eventlog.DesiredKey(it.device, it.deployment)]
}

// register plans device.registered, as the operator appends it at a device's first
// info, and the labels that mark the device.
func (p *planner) register(it item) {
	d := p.target.View.Devices[it.device]
	var version string
	if e, err := eventlog.Decode(it.subject, nil, it.data, 1, it.Created); err == nil {
		if i, err := e.Info(); err == nil {
			version = i.Inventory.AgentVersion
		}
	}
	if d == nil || !d.Registered {
		const most = 128 // as the operator cuts it
		if len(version) > most {
			version = ""
		}
		draft, err := eventlog.NewDraft(eventlog.DeviceSubject(it.device), eventlog.DeviceRegistered, it.Created, eventlog.Registration{AgentVersion: version})
		if err == nil {
			p.add(it, p.draft(it, draft.Subject, draft.Type, draft.Data))
		}
	}
	marks := p.marked[it.device]
	if len(marks) == 0 {
		return
	}
	owned := map[string]eventlog.OwnedLabel{}
	for k, v := range p.labels[it.device] {
		owned[k] = eventlog.OwnedLabel{Value: v, Owner: eventlog.OwnerDevice}
	}
	if d != nil {
		maps.Copy(owned, d.Labels)
	}
	missing := false
	for k := range marks {
		_, there := owned[k]
		missing = missing || !there
		owned[k] = eventlog.OwnedLabel{Value: "true", Owner: labelOwner}
	}
	if !missing {
		return
	}
	draft, err := eventlog.NewDraft(eventlog.DeviceSubject(it.device), eventlog.DeviceRelabeled, it.Created, eventlog.Labels{Labels: owned})
	if err == nil {
		p.add(it, p.draft(it, draft.Subject, draft.Type, draft.Data))
	}
}

// labelOwner owns the labels that mark devices, as a person's field manager would.
const labelOwner = "fleetctl-import"

func (p *planner) takePulse(it item, c *Count) {
	if it.Deleted {
		c.Deleted++
		return
	}
	last, known := p.target.Pulses[it.device]
	switch {
	case known && !last.Imported:
		c.Kept++ // it lives, and says so itself: no news
		return
	case known && string(last.Data) == string(it.data):
		c.Present++
	default:
		c.New++
		p.Pulses = append(p.Pulses, Pulse{Subject: it.subject, Cause: causeOf(it.Entry), Data: it.data})
	}
	p.want[it.Bucket][it.Key] = it.data
}
