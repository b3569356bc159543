package resource

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
)

// Devices has the columns of the CRD, and one more with -o wide.
func Devices() *Resource {
	return &Resource{
		Plural: "devices", Singular: "device", kind: "Device", aliases: []string{"dev", "fleetdev"},
		Columns: []column{
			{"ONLINE", always},
			{"AGENT", always},
			{"RUNNING", always},
			{"FAILED", always},
			{"PENDING", always},
			{"REASON", wide},
			{"SINCE", wideAge},
			{"ARCH", wide},
			{"OS", wide},
			{"PODMAN", wide},
			{"KEYENDS", wideAge},
			{"LABELS", wide},
			{"DEPLOYMENTS", wide},
			{"AGE", age},
		},
		Exists: (*Catalog).known,
		item:   (*Catalog).device,
	}
}

// Standings of a Deployment's name on a device.
const (
	standingAssigned  = "Assigned"
	standingWithdrawn = "Withdrawn" // taken off it, and still reported
	standingUnknown   = "Unknown"   // reported, and never assigned: left alone
)

// DeviceObject is a Device's custom resource, and in its status what a custom
// resource has no room for: each Deployment on the device.
type DeviceObject struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta   `json:"metadata"`
	Spec            v1alpha1.DeviceSpec `json:"spec"`
	Status          DeviceStatus        `json:"status"`
}

// DeviceStatus is a Device's status with each Deployment on the device.
type DeviceStatus struct {
	v1alpha1.DeviceStatus `json:",inline"`
	OnDevice              []OnDevice `json:"onDevice,omitempty"`
}

// OnDevice is how one Deployment stands on a device.
type OnDevice struct {
	Namespace        string         `json:"namespace,omitempty"`
	Name             string         `json:"name"`
	Standing         string         `json:"standing"`
	Phase            eventlog.Phase `json:"phase,omitempty"` // as the device reports it
	Reason           string         `json:"reason,omitempty"`
	Error            string         `json:"error,omitempty"`
	Revision         uint64         `json:"revision,omitempty"`         // that should run
	ReportedRevision uint64         `json:"reportedRevision,omitempty"` // that the device speaks of
	Updated          bool           `json:"updated"`                    // it speaks of what should run
}

// device shows a device as its custom resource.
func (c *Catalog) device(key fleet.Key) Item {
	d := c.View.Devices[key.Name]
	o := DeviceObject{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Device"},
		Metadata: metav1.ObjectMeta{Name: d.ID, Labels: labelsOf(d)},
		Status:   DeviceStatus{DeviceStatus: c.deviceStatus(d), OnDevice: standings(d)},
	}
	if !d.RegisteredAt.IsZero() {
		o.Metadata.CreationTimestamp = metav1.NewTime(d.RegisteredAt.UTC().Truncate(time.Second))
	}
	var reported eventlog.Inventory
	if d.Info != nil {
		reported = d.Info.Inventory
	}
	i := status.Inventory(reported)
	o.Spec.Inventory = i
	online := conditionOf(o.Status.Conditions, v1alpha1.ConditionOnline)
	var n v1alpha1.DeviceDeployments
	if o.Status.Deployments != nil {
		n = *o.Status.Deployments
	}
	number := func(n int32) string { return strconv.Itoa(int(n)) }
	return Item{Key: key, Object: o, Cells: []string{
		string(online.Status), o.Status.AgentVersion, number(n.Running), number(n.Failed), number(n.Pending),
		online.Reason, c.age(online.LastTransitionTime.Time), i.Arch, i.OS, i.PodmanVersion, c.keyEnds(d), labels.Set(o.Metadata.Labels).String(),
		standingText(o.Status.OnDevice), c.age(o.Metadata.CreationTimestamp.Time),
	}}
}

// deviceStatus is what the operator says of a device, by its own function.
func (c *Catalog) deviceStatus(d *fleet.Device) v1alpha1.DeviceStatus {
	in := status.Devices{Log: d, Conflicts: conflicts(d)}
	if d.Info != nil {
		in.Reported = d.Info.Labels
	}
	s := status.Device(in, c.Now)
	for i := range s.Conditions {
		s.Conditions[i].LastTransitionTime = metav1.Time{} // not in the view
	}
	if online := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionOnline); online != nil && !d.Presence.Since.IsZero() {
		online.LastTransitionTime = metav1.NewTime(d.Presence.Since.UTC().Truncate(time.Second))
	}
	return s
}

// conflicts are the labels that the device reports with another value than the
// one that selects.
func conflicts(d *fleet.Device) []v1alpha1.LabelConflict {
	if d.Info == nil {
		return nil
	}
	var out []v1alpha1.LabelConflict
	for _, k := range slices.Sorted(maps.Keys(d.Info.Labels)) {
		held, ok := d.Labels[k]
		if reported := d.Info.Labels[k]; ok && held.Value != reported && held.Owner != eventlog.OwnerDevice {
			out = append(out, v1alpha1.LabelConflict{Key: k, Reported: reported, Kept: held.Value, Manager: held.Owner})
		}
	}
	return out
}

// labelsOf are a device's labels that select.
func labelsOf(d *fleet.Device) map[string]string {
	if len(d.Labels) == 0 {
		return nil
	}
	m := make(map[string]string, len(d.Labels))
	for k, l := range d.Labels {
		m[k] = l.Value
	}
	return m
}

// standings lists what should run on a device and what it reports, by name. What
// was withdrawn and is reported no more is over.
func standings(d *fleet.Device) []OnDevice {
	var out []OnDevice
	for p := range d.Assignments {
		o := OnDevice{
			Namespace: p.Namespace, Name: p.Name, Standing: standingAssigned, Phase: p.Reported.Phase, Reason: p.Reported.Reason,
			Error: p.Reported.Error, ReportedRevision: p.Reported.Revision, Updated: p.Updated(),
		}
		switch {
		case p.Assigned():
			o.Namespace, o.Revision = p.Deployment.Key.Namespace, p.Desired.Revision
		case p.Reported.Sequence == 0:
			continue
		case p.Withdrawn():
			o.Standing = standingWithdrawn
		default:
			o.Standing = standingUnknown
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b OnDevice) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// standingText is a cell: shop/web=Running,old=Unknown.
func standingText(all []OnDevice) string {
	words := make([]string, 0, len(all))
	for _, o := range all {
		said := string(o.Phase)
		switch {
		case o.Standing != standingAssigned:
			said = o.Standing
		case o.Phase == "" || !o.Updated:
			said = string(eventlog.PhasePending)
		case o.Phase == eventlog.PhaseFailed && o.Reason != "":
			said += "(" + o.Reason + ")"
		}
		words = append(words, strings.TrimPrefix(o.Namespace+"/"+o.Name, "/")+"="+said)
	}
	return strings.Join(words, ",")
}

// keyEnds is how long the key of a device still holds, at the moment that is asked
// about.
func (c *Catalog) keyEnds(d *fleet.Device) string {
	expires := attention.KeyExpires(d)
	switch {
	case expires.IsZero():
		return "<unknown>"
	case attention.KeyReason(expires, c.Now) == attention.ReasonExpired:
		return "expired"
	}
	return duration.HumanDuration(expires.Sub(c.Now))
}

// age is how long ago something was, at the moment that is asked about.
func (c *Catalog) age(t time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(max(0, c.Now.Sub(t)))
}

// labelsMatch asks the labels that select.
func (c *Catalog) labelsMatch(id string, matches func(map[string]string) bool) bool {
	d := c.View.Devices[id]
	return d != nil && matches(labelsOf(d))
}
