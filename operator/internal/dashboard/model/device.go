package model

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
)

// historyEntries is how many entries of its history a page of a device has.
const historyEntries = 100

// Device is one device.
type Device struct {
	Moment     Moment      `json:"moment"`
	Device     DeviceRow   `json:"device"`
	Conditions []Condition `json:"conditions"`
	// Labels are those that select, with their owners.
	Labels      []Label              `json:"labels"`
	Inventory   Inventory            `json:"inventory"`
	Deployments []OnDevice           `json:"deployments"`
	Explanation *explain.Explanation `json:"explanation,omitempty"`
	// Unexplained says why there is no explanation, or no history either.
	Unexplained string           `json:"unexplained,omitempty"`
	History     []timeline.Entry `json:"history"` // the newest first
	Earlier     int              `json:"earlier"` // entries of the history that are left out
}

// Label is a label that selects.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Owner string `json:"owner"`
}

// Inventory is what the device says that it is.
type Inventory struct {
	Text    string    `json:"text"`
	KeyEnds time.Time `json:"key_ends"` // zero: it did not say
}

// OnDevice is a Deployment on the device: what should run, beside what the device reports.
type OnDevice struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Standing  string `json:"standing"` // Assigned, Withdrawn or Unknown
	Updated   bool   `json:"updated"`  // the report is about what should run

	DesiredRevision uint64    `json:"desired_revision,omitempty"`
	DesiredHash     string    `json:"desired_hash,omitempty"`
	DesiredAt       time.Time `json:"desired_at"`

	Phase            string    `json:"phase,omitempty"` // as the device reports it
	ReportedRevision uint64    `json:"reported_revision,omitempty"`
	ReportedHash     string    `json:"reported_hash,omitempty"`
	ReportedAt       time.Time `json:"reported_at"`
	Reason           string    `json:"reason,omitempty"`
	Error            string    `json:"error,omitempty"`
}

// DeviceSubjects are those of the events that DeviceOf reads: of what is told of the device,
// and of what explains it.
func DeviceSubjects(device string) []string { return explain.Question{Device: device}.Subjects() }

// DeviceOf shows a device; false where the fleet does not know it. events are those of
// DeviceSubjects, which are read twice; nil: there are more than may be read.
func DeviceOf(c *resource.Catalog, now bool, id string, events iter.Seq2[eventlog.Event, error]) (out Device, known bool, err error) {
	key := fleet.Key{Name: id}
	if !resource.Devices().Exists(c, key) {
		return out, false, nil
	}
	d := c.View.Devices[id]
	o := resource.Devices().Show(c, key).Object.(resource.DeviceObject)
	out = Device{
		Moment: MomentOf(c, now), Device: deviceRowOf(c, key), Conditions: []Condition{}, Labels: []Label{},
		Deployments: onDevice(d, o.Status.OnDevice), History: []timeline.Entry{},
	}
	for _, cond := range o.Status.Conditions {
		out.Conditions = append(out.Conditions, Condition{cond.Type, string(cond.Status), cond.Reason, cond.Message})
	}
	for _, k := range slices.Sorted(maps.Keys(d.Labels)) {
		out.Labels = append(out.Labels, Label{k, d.Labels[k].Value, d.Labels[k].Owner})
	}
	if d.Info != nil {
		out.Inventory = Inventory{Text: timeline.InventoryText(d.Info.Inventory), KeyEnds: d.Info.KeyExpires.UTC()}
	}
	if events == nil {
		out.Unexplained = "The log has more events of it than a page reads. Its history: fleetctl history device/" + id
		return out, true, nil
	}
	until := upTo(events, c.View.Sequence)
	h, err := timeline.OfDevice(until, id, timeline.Options{})
	if err != nil {
		return out, true, err
	}
	out.Earlier = max(0, len(h.Entries)-historyEntries)
	out.History = append(out.History, h.Entries[out.Earlier:]...)
	slices.Reverse(out.History)
	q := explain.Question{Device: id, At: c.Now, Fleet: func() (*fleet.View, error) { return c.View, nil }}
	out.Explanation, err = explain.Answer(until, q, timeline.Options{AsOf: c.View.Sequence})
	if errors.Is(err, explain.ErrUnknownDevice) { // only others spoke of it
		out.Unexplained, err = err.Error(), nil
	}
	return out, true, err
}

// upTo gives the events up to a sequence.
func upTo(events iter.Seq2[eventlog.Event, error], sequence uint64) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		for e, err := range events {
			if e.Sequence > sequence || !yield(e, err) {
				return
			}
		}
	}
}

// onDevice puts what should run beside what the device reports.
func onDevice(d *fleet.Device, all []resource.OnDevice) []OnDevice {
	out := []OnDevice{}
	for _, on := range all {
		row := OnDevice{
			Namespace: on.Namespace, Name: on.Name, Standing: on.Standing, Updated: on.Updated, DesiredRevision: on.Revision,
			Phase: string(on.Phase), ReportedRevision: on.ReportedRevision, Reason: on.Reason, Error: on.Error,
		}
		if p := d.Pair(on.Name); p != nil {
			if p.Assigned() {
				row.DesiredHash, row.DesiredAt = p.Desired.Hash, p.Desired.At.Time()
			}
			row.ReportedHash, row.ReportedAt = p.Reported.Hash, p.Reported.At.Time()
		}
		out = append(out, row)
	}
	return out
}

// DeviceOwnSubjects are those of the events that tell something of the device.
func DeviceOwnSubjects(device string) []string { return timeline.DeviceSubjects(device) }
