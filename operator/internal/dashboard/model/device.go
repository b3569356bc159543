package model

import (
	"maps"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
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

// DeviceOf shows a device, but for what is Told of it; false where the fleet does not know it.
func DeviceOf(c *resource.Catalog, now bool, id string) (out Device, known bool) {
	key := fleet.Key{Name: id}
	if !resource.Devices().Exists(c, key) {
		return out, false
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
	return out, true
}

// Told puts the newest part of a device's history on its page.
func (d *Device) Told(h *timeline.History) {
	d.Earlier = max(0, len(h.Entries)-historyEntries)
	d.History = append(d.History, h.Entries[d.Earlier:]...)
	slices.Reverse(d.History)
}

// DeploymentsFor are the names of the Deployments that are on a device or match it.
func DeploymentsFor(c *resource.Catalog, id string) []string {
	var out []string
	d := c.View.Devices[id]
	if d == nil {
		return nil
	}
	for p := range d.Assignments {
		out = append(out, p.Name)
	}
	labels := selectors.Bare(d.Labels)
	for key, deployment := range c.View.Deployments {
		if deployment.Lifecycle != fleet.Deleted && selectors.Selects(deployment.Spec.Selector, labels) {
			out = append(out, key.Name)
		}
	}
	return out
}

// DeploymentsIn are the names of the Deployments of which a device's history tells.
func DeploymentsIn(h *timeline.History) []string {
	var out []string
	for i := range h.Entries {
		if of := h.Entries[i].Deployment; of != "" {
			out = append(out, of[strings.LastIndexByte(of, '/')+1:])
		}
	}
	return out
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

// DeviceSubjects are those of the events that tell something of the device.
func DeviceSubjects(device string) []string { return timeline.DeviceSubjects(device) }
