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

// applyDeviceRequest notes the first request to decommission a device, also of
// one that has not reported yet. A request about a device that has left has no
// effect, then or later.
func (v *View) applyDeviceRequest(e *eventlog.Event, r eventlog.Request) {
	if r.Verb != eventlog.RequestDecommission {
		return
	}
	dev := v.device(e.Address.Device)
	if dev.Out() {
		return
	}
	dev.Leaving = &Request{Request: r, User: v.intern(e.Address.User), Mark: markOf(e)}
	v.touchDevice(dev)
}

// decommission takes a device out of the fleet. The operator withdrew and cleared
// what it knew before; what the device reported in between counts as late. What
// was ever desired stays known: a sync answers with those withdrawals.
func (v *View) decommission(dev *Device, e *eventlog.Event) {
	dev.Decommissioned, dev.Registered, dev.Leaving = true, false, nil
	dev.Labels, dev.LabelsID = nil, ""
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
