package fleet

import (
	"fmt"
	"slices"

	"fleet.nationtech.io/eventlog"
)

// MaxLate bounds Device.Late: the device chooses the names.
const MaxLate = 32

// LateInfo stands in Device.Late for the device's info; no Deployment has that name.
const LateInfo = ""

// Out says whether a device has left the fleet, or is about to because a person
// asked for it: nothing is placed on it.
func (d *Device) Out() bool { return d.Decommissioned || d.Leaving != nil }

// applyDeviceRequest notes what a person asks about a device, also about one that
// has not reported yet. Of requests to decommission it the first counts; about a
// device that has left they have no effect, then or later. Of requests about its
// access the last counts, and one that asks for what is so takes back what is open.
func (v *View) applyDeviceRequest(e *eventlog.Event, r eventlog.Request) {
	switch r.Verb {
	case eventlog.RequestDecommission, eventlog.RequestRevoke, eventlog.RequestAllow:
	default:
		return // a newer writer's
	}
	dev := v.device(e.Address.Device)
	asked := &Request{Request: r, User: v.intern(e.Address.User), Mark: markOf(e)}
	switch {
	case r.Verb != eventlog.RequestDecommission:
		if dev.AccessRequest = asked; r.Verb == eventlog.RequestRevoke && dev.Access != nil || r.Verb == eventlog.RequestAllow && dev.Access == nil && !dev.Out() {
			dev.AccessRequest = nil
		}
	case !dev.Out():
		dev.Leaving = asked
	}
	v.touchDevice(dev)
}

// decommission takes a device out of the fleet. The operator withdrew and cleared
// what it knew before; what the device reported in between counts as late. What
// was ever desired stays known: a sync answers with those withdrawals.
func (v *View) decommission(dev *Device, e *eventlog.Event) {
	dev.Decommissioned, dev.Registered, dev.Leaving = true, false, nil
	dev.Labels, dev.LabelsID, dev.LabelsSequence = nil, "", 0
	if dev.Info != nil {
		dev.note(LateInfo)
	}
	dev.Info, dev.InfoSequence = nil, e.Sequence
	for _, p := range slices.Clone(dev.pairs) {
		if p.Reported.Sequence > 0 {
			dev.note(p.Name)
			v.change(p, func() { p.Reported, p.old = Reported{}, false })
			v.forget(p)
		}
	}
	v.changePresence(dev, Presence{})
}

// applyLate folds what a decommissioned device writes. A report is foreign. Its
// name is noted, so that the operator clears the key that the report made in a
// bucket. The agent's journal is no report: it tells how the device was emptied.
func (v *View) applyLate(dev *Device, e *eventlog.Event) error {
	switch e.Type {
	case eventlog.StateReported:
		dev.note(v.intern(e.Address.Deployment))
	case eventlog.InfoReported:
		dev.note(LateInfo)
	case eventlog.StateCleared:
		dev.settle(e.Address.Deployment)
		return nil
	case eventlog.InfoCleared:
		dev.settle(LateInfo)
		return nil
	default:
		return nil
	}
	v.touchDevice(dev)
	return fmt.Errorf("%w: device %s is decommissioned", eventlog.ErrForeign, dev.ID)
}

// note puts a name into Late. A name that is too long for a Deployment is left out.
func (d *Device) note(name string) {
	if i, ok := slices.BinarySearch(d.Late, name); !ok && len(d.Late) < MaxLate && len(name) <= eventlog.MaxNameLength {
		d.Late = slices.Insert(d.Late, i, name)
	}
}

// settle takes a name out of Late: its key is cleared.
func (d *Device) settle(name string) {
	if i, ok := slices.BinarySearch(d.Late, name); ok {
		d.Late = slices.Delete(d.Late, i, i+1)
	}
}
