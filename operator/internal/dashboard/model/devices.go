package model

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/selectors"
)

// DeviceFilter says which devices a list has.
type DeviceFilter struct {
	Text       string          // part of the id
	Selector   labels.Selector // nil: all
	State      string          // one of DeviceStates; empty: all
	Deployment fleet.Key       // that is assigned to them; the zero Key: any
	Page       int
	Size       int
}

// DeviceStates are the states by which devices are filtered.
func DeviceStates() []string {
	return []string{"online", "offline", "unheard", "failing", "pending", "revoked"}
}

// Devices is the list of devices.
type Devices struct {
	Moment  Moment       `json:"moment"`
	Counts  DeviceCounts `json:"counts"` // of all devices, whatever the filter
	Page    Page         `json:"page"`
	Devices []DeviceRow  `json:"devices"`
}

// DeviceCounts are the devices of the fleet by how they fare.
type DeviceCounts struct {
	Devices int `json:"devices"`
	Online  int `json:"online"`
	Offline int `json:"offline"`
	Unheard int `json:"unheard"` // no verdict has been reached
	Failing int `json:"failing"` // something on them fails
	Revoked int `json:"revoked"` // they may not connect
}

// DeviceRow is a device in a list.
type DeviceRow struct {
	ID      string    `json:"id"`
	Online  string    `json:"online"` // Online, Offline, or Unknown before the first verdict
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since"`
	Revoked bool      `json:"revoked,omitempty"`
	Agent   string    `json:"agent,omitempty"`
	Arch    string    `json:"arch,omitempty"`
	OS      string    `json:"os,omitempty"`

	Running int32 `json:"running"`
	Failed  int32 `json:"failed"`
	Pending int32 `json:"pending"`

	Labels map[string]string `json:"labels,omitempty"`
	// Failure is what the device says of the first Deployment that fails on it.
	Failure string `json:"failure,omitempty"`
}

// DevicesOf lists the devices that a filter lets through, by id. What is costly is done for
// those of the page alone.
func DevicesOf(c *resource.Catalog, now bool, f DeviceFilter) Devices {
	out := Devices{Moment: MomentOf(c, now), Devices: []DeviceRow{}}
	keys := resource.Devices().Keys(c)
	out.Counts = countsOf(c, keys)
	keys = slices.DeleteFunc(keys, func(key fleet.Key) bool { return !f.lets(c.View.Devices[key.Name]) })
	keys, out.Page = pageOf(keys, f.Page, f.Size)
	for _, key := range keys {
		out.Devices = append(out.Devices, deviceRowOf(c, key))
	}
	return out
}

func countsOf(c *resource.Catalog, keys []fleet.Key) DeviceCounts {
	n := DeviceCounts{Devices: len(keys)}
	for _, key := range keys {
		d := c.View.Devices[key.Name]
		switch d.Presence.Online {
		case fleet.OnlineTrue:
			n.Online++
		case fleet.OnlineFalse:
			n.Offline++
		default:
			n.Unheard++
		}
		if failing(d) {
			n.Failing++
		}
		if d.Access != nil {
			n.Revoked++
		}
	}
	return n
}

func (f *DeviceFilter) lets(d *fleet.Device) bool {
	if !strings.Contains(d.ID, f.Text) {
		return false
	}
	if f.Selector != nil && !f.Selector.Matches(labels.Set(selectors.Bare(d.Labels))) {
		return false
	}
	if f.Deployment.Name != "" {
		if p := d.Pair(f.Deployment.Name); p == nil || !p.Assigned() || p.Deployment.Key != f.Deployment {
			return false
		}
	}
	switch f.State {
	case "online":
		return d.Presence.Online == fleet.OnlineTrue
	case "offline":
		return d.Presence.Online == fleet.OnlineFalse
	case "unheard":
		return d.Presence.Online == fleet.OnlineUnknown
	case "failing":
		return failing(d)
	case "pending":
		return pending(d)
	case "revoked":
		return d.Access != nil
	}
	return true
}

func failing(d *fleet.Device) bool {
	for p := range d.Assignments {
		if p.Failed() {
			return true
		}
	}
	return false
}

func pending(d *fleet.Device) bool {
	for p := range d.Assignments {
		if p.Assigned() && !p.Failed() && !p.Succeeded() {
			return true
		}
	}
	return false
}

func deviceRowOf(c *resource.Catalog, key fleet.Key) DeviceRow {
	d := c.View.Devices[key.Name]
	o := resource.Devices().Show(c, key).Object.(resource.DeviceObject)
	row := DeviceRow{
		ID: d.ID, Online: onlineText(d), Reason: d.Presence.Reason, Since: d.Presence.Since.UTC(), Revoked: d.Access != nil,
		Agent: o.Status.AgentVersion, Arch: o.Spec.Inventory.Arch, OS: o.Spec.Inventory.OS, Labels: o.Metadata.Labels,
	}
	if n := o.Status.Deployments; n != nil {
		row.Running, row.Failed, row.Pending = n.Running, n.Failed, n.Pending
	}
	for p := range d.Assignments {
		if p.Failed() && row.Failure == "" {
			row.Failure = failureText(p)
		}
	}
	return row
}

// failureText is what a device says of a Deployment that fails on it.
func failureText(p *fleet.Assignment) string {
	text := p.Deployment.Key.String()
	if p.Reported.Reason != "" {
		text += ": " + p.Reported.Reason
	}
	if p.Reported.Error != "" {
		text += ": " + p.Reported.Error
	}
	return text
}

// onlineText is Online, Offline, or Unknown before the first verdict.
func onlineText(d *fleet.Device) string {
	if d.Presence.Online == fleet.OnlineUnknown {
		return "Unknown"
	}
	return string(d.Presence.Online)
}
