package fleet

import (
	"slices"

	"fleet.nationtech.io/eventlog"
)

// applyNumbered folds what a device wrote, unless the fold has seen it: a repeat.
func (v *View) applyNumbered(dev *Device, e *eventlog.Event) error {
	if !dev.Identity.accept(e) {
		v.touchDevice(dev)
		return nil
	}
	if dev.Decommissioned {
		return v.applyLate(dev, e)
	}
	return v.applyReport(dev, e)
}

// accountTraffic counts what a device writes against its budget, foreign messages too:
// they fill the log as others do.
func (v *View) accountTraffic(dev *Device, e *eventlog.Event) {
	dev.Traffic.add(len(e.Data)+e.HeaderBytes, e.Recorded)
	if dev.Traffic.Flooding() {
		v.touchDevice(dev)
	}
}

func (v *View) applyReport(dev *Device, e *eventlog.Event) error {
	switch e.Type {
	case eventlog.StateReported:
		p := dev.Pair(e.Address.Deployment)
		told := ""
		if p != nil {
			told = p.Desired.Hash
		}
		s, err := e.Report(told, v.keep)
		if err != nil {
			return err
		}
		if p == nil && dev.Crowded() {
			v.touchDevice(dev)
			return ErrTooManyUnknown
		}
		if p == nil {
			p = v.assignment(dev, e.Address.Deployment)
		}
		v.reportState(p, e, s, false)
	case eventlog.InfoReported:
		i, err := e.ReportedInfo(v.keep)
		if err != nil {
			return err
		}
		v.reportInfo(dev, e, i)
	case eventlog.StateCleared, eventlog.InfoCleared:
		v.clear(dev, e)
	}
	return nil
}

func (v *View) reportState(p *Assignment, e *eventlog.Event, s eventlog.DeploymentState, old bool) {
	if s.Assignment >= e.Sequence || v.Renumbered {
		s.Assignment = 0 // it speaks of another log, or of nothing that there was
	}
	v.change(p, func() {
		p.Reported = Reported{
			Sequence: e.Sequence, Phase: s.Phase, Hash: cut(s.ScoreHash, maxWordLength), Reason: cut(s.Reason, maxWordLength),
			Revision: s.Revision, Assignment: s.Assignment, At: MomentOf(s.LastEventAt), Recorded: MomentOf(e.Recorded),
		}
		p.old = old
		if s.LastError != nil {
			p.Reported.Error = v.intern(cut(*s.LastError, maxErrorLength))
		}
	})
}

func (v *View) reportInfo(dev *Device, e *eventlog.Event, i eventlog.DeviceInfo) {
	i.UpdatedAt, i.KeyExpires, i.DeviceID = i.UpdatedAt.UTC(), i.KeyExpires.UTC(), dev.ID
	cutInfo(&i)
	if i.Inventory.Hostname == dev.ID {
		i.Inventory.Hostname = dev.ID
	}
	dev.Info, dev.InfoSequence = &i, e.Sequence
	v.touchDevice(dev)
}

// clear takes away what a device said on a subject.
func (v *View) clear(dev *Device, e *eventlog.Event) {
	switch e.Type {
	case eventlog.StateCleared:
		if p := dev.Pair(e.Address.Deployment); p != nil {
			v.change(p, func() { p.Reported, p.old = Reported{}, false })
			v.forget(p)
		}
	case eventlog.InfoCleared:
		dev.Info, dev.InfoSequence = nil, e.Sequence
		v.touchDevice(dev)
	}
}

// forget drops a pair that the log neither wants nor hears of: a withdrawn one
// whose report was cleared stays, since its delete marker counts in a sync.
func (v *View) forget(p *Assignment) {
	if p.Deployment != nil || p.Desired.Sequence > 0 {
		return
	}
	if i, ok := p.Device.find(p.Name); ok {
		p.Device.count(p, -1)
		p.Device.pairs = slices.Delete(p.Device.pairs, i, i+1)
	}
}
