package model

import (
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/timeline"
)

// historyEntries is how many entries of its history a page of a device has.
const historyEntries = 100

// shownSteps is how many steps of its agent.
const shownSteps = 20

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
	// Steps are the newest entries of the history that tell what the agent did, the newest first.
	Steps []timeline.Entry `json:"steps"`
	// Away is for how long it was away at most in the month before, and came back by itself; 0:
	// it was not.
	Away  float64 `json:"usually_away_up_to_seconds,omitempty"`
	Pulse *Pulse  `json:"pulse,omitempty"` // of now alone
	// Actions are what a person can ask about it now; none at a moment of the past.
	Actions []resource.Action `json:"actions,omitempty"`
}

// Label is a label that selects.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Owner string `json:"owner"`
}

// Inventory is what the device says that it is. Fields of which it says nothing are left out.
type Inventory struct {
	Text     string    `json:"text"`
	Reported time.Time `json:"reported"` // when it said so, by its clock
	KeyEnds  time.Time `json:"key_ends"` // zero: it did not say

	Hostname string `json:"hostname,omitempty"`
	OS       string `json:"os,omitempty"`
	Kernel   string `json:"kernel,omitempty"`
	Arch     string `json:"arch,omitempty"`
	Cores    int    `json:"cpu_cores,omitempty"`
	MemoryMB int    `json:"memory_mb,omitempty"` // MiB
	Agent    string `json:"agent_version,omitempty"`
	Podman   string `json:"podman_version,omitempty"`
}

// Pulse is the last sign of life of a device.
type Pulse struct {
	At time.Time `json:"at"` // when the server got it
	// Ahead is how far the device's clock was ahead of the server's then. How long the pulse
	// was on its way makes the clock seem behind.
	Ahead float64 `json:"clock_ahead_seconds"`
}

// wrongClock is how far a clock may be off before a page says so: fleetctl doctor warns then.
const wrongClock = 5 * time.Second

// Wrong says whether the device's clock is off by more than a pulse takes.
func (p *Pulse) Wrong() bool {
	return math.Abs(p.Ahead) > wrongClock.Seconds()
}

// OffText says by how much the clock is off.
func (p *Pulse) OffText() string {
	if p.Ahead < 0 {
		return timeline.SpanText(-p.Ahead) + " behind"
	}
	return timeline.SpanText(p.Ahead) + " ahead"
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

// DeviceOf shows a device, but for its history, its explanation and its pulse; false where the fleet does not know it.
func DeviceOf(c *resource.Catalog, now bool, id string) (out Device, known bool) {
	key := fleet.Key{Name: id}
	if !resource.Devices().Exists(c, key) {
		return out, false
	}
	d := c.View.Devices[id]
	o := resource.Devices().Show(c, key).Object.(resource.DeviceObject)
	out = Device{
		Moment: MomentOf(c, now), Device: deviceRowOf(c, key), Conditions: []Condition{}, Labels: []Label{},
		Deployments: onDevice(d, o.Status.OnDevice), History: []timeline.Entry{}, Steps: []timeline.Entry{},
	}
	for _, cond := range o.Status.Conditions {
		out.Conditions = append(out.Conditions, Condition{cond.Type, string(cond.Status), cond.Reason, cond.Message})
	}
	for _, k := range slices.Sorted(maps.Keys(d.Labels)) {
		out.Labels = append(out.Labels, Label{k, d.Labels[k].Value, d.Labels[k].Owner})
	}
	if d.Info != nil {
		i := d.Info.Inventory
		out.Inventory = Inventory{
			Text: timeline.InventoryText(i), Reported: d.Info.UpdatedAt.UTC(), KeyEnds: d.Info.KeyExpires.UTC(),
			Hostname: i.Hostname, OS: i.OS, Kernel: i.Kernel, Arch: i.Arch, Cores: i.CPUCores, MemoryMB: i.MemoryMB, Agent: i.AgentVersion, Podman: i.PodmanVersion,
		}
	}
	if now {
		out.Actions = c.DeviceActions(id)
	}
	return out, true
}

// SetHistory puts the newest part of a device's history on its page.
func (d *Device) SetHistory(h *timeline.History) {
	d.Earlier = max(0, len(h.Entries)-historyEntries)
	d.History = append(d.History, h.Entries[d.Earlier:]...)
	slices.Reverse(d.History)
	for _, e := range slices.Backward(h.Entries) {
		if len(d.Steps) < shownSteps && e.Type.Family() == eventlog.FamilyAgent {
			d.Steps = append(d.Steps, e)
		}
	}
}

// SetAway finds in a device's own events, up to the page's moment, for how long it is used to be
// away.
func (d *Device) SetAway(events iter.Seq2[eventlog.Event, error]) {
	habits := attention.NewHabits()
	for e, err := range events {
		if err == nil && !e.Recorded.Before(d.Moment.Clock.Add(-attention.HabitSpan)) && !e.Recorded.After(d.Moment.Clock) {
			habits.Add(e)
		}
	}
	d.Away = habits.Longest()[d.Device.ID].Seconds()
}

// SetPulse puts the last pulse on the page: the time in it, and when the server got it.
func (d *Device) SetPulse(at, got time.Time) {
	d.Pulse = &Pulse{At: got.UTC(), Ahead: at.Sub(got).Seconds()}
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
