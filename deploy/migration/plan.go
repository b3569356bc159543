package migration

import (
	"cmp"
	"fmt"
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
	MaxIDs     int               // of devices in a selector that is guessed; 0 means 200
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
	// Decided has the Deployments that an operator applied or ended last.
	Decided map[fleet.Key]bool
	// Labelled has the devices whose labels an operator recorded: there is a Device of
	// each in the cluster.
	Labelled map[string]bool
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
		Revisions: map[fleet.Key]map[string]uint64{}, Decided: map[fleet.Key]bool{}, Labelled: map[string]bool{}, Pulses: map[string]Last{},
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
	known   map[string]bool // devices of which the source or the log has a valid device-info
	labels  fleetLabels
	content map[fleet.Key][]content
	infos   map[string]item            // by device: what the source has of it
	marks   map[string]map[string]bool // by device: the labels to set (true) or to take off
	desired map[string]bool            // keys of the source's desired values
	// withdrawn are the subjects of desired values that the source took away.
	withdrawn map[string]bool
	// unselected are the devices of each Deployment that its selector leaves out.
	unselected map[fleet.Key]map[string]bool
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
	p := &planner{
		o: o, source: source, target: target, known: map[string]bool{}, labels: fleetLabels{}, content: map[fleet.Key][]content{}, infos: map[string]item{},
		marks: map[string]map[string]bool{}, desired: map[string]bool{}, withdrawn: map[string]bool{}, unselected: map[fleet.Key]map[string]bool{},
	}
	p.Counts, p.want = map[string]*Count{}, map[string]map[string][]byte{}
	for _, b := range eventlog.Buckets() {
		p.Counts[b], p.want[b] = &Count{}, map[string][]byte{}
	}
	items := p.understand()
	p.applyDeployments(items)
	p.markDevices() // before they are given what they are marked for
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
	for _, it := range items {
		switch {
		case it.Bucket == eventlog.BucketInfo && !it.Deleted:
			p.infos[it.device] = it
		case it.Bucket == eventlog.BucketDesired:
			p.desired[it.Key] = true
		}
	}
	p.learnDevices()
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

// outside says why an entry is about something that is not in the fleet.
func (p *planner) outside(it item) *Finding {
	if d := p.target.View.Devices[it.device]; d != nil && d.Decommissioned {
		return it.finding(ReasonDeviceLeft, "the log says that device %s was decommissioned; to take it in again: fleetctl device allow %s", it.device, it.device)
	}
	if !p.known[it.device] {
		return it.finding(ReasonUnknownDevice, "device %s has no valid entry in bucket %s", it.device, eventlog.BucketInfo)
	}
	if it.Bucket == eventlog.BucketDesired {
		key := p.key(it)
		if d := p.target.View.Deployments[key]; d != nil && d.Lifecycle == fleet.Deleted && p.target.Decided[key] {
			return it.finding(ReasonEnded, "the log says that an operator ended Deployment %s", key)
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

// state plans an event that follows from what the log holds, and gives its id. after
// names what it is about and the event that it comes after, so that the same change can
// come twice.
func (p *planner) state(d eventlog.Draft, after, cause string) string {
	d.Actor, d.CorrelationID, d.CausationID = p.o.Actor, "import:"+p.source.Origin, cause
	e := Event{ID: id(p.source.Origin, string(d.Type), after, 0, d.Time, d.Data), Draft: d}
	p.Events = append(p.Events, e)
	return e.ID
}
