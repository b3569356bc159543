package decide

import (
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// ReasonDeviceDeleted says that the Device's CR was deleted, and that its annotation
// asked for the device to leave the fleet then.
const ReasonDeviceDeleted = "DeviceDeleted"

// leave: a device that a person takes out of the fleet. In this order the log
// learns that each Deployment is withdrawn there, that its reports are cleared,
// and that it is decommissioned; whatever of that is missing after a crash is due
// again. Nothing waits for the device: it may be gone for good. What it reports
// after that is cleared again.
func leave(c deviceCase) ([]eventlog.Draft, bool, error) {
	if !c.out(c.id) {
		return nil, false, nil
	}
	if !nameable(c.id) {
		return nil, true, nil
	}
	if c.dev == nil { // it never reported, and never shall
		c.dev = &fleet.Device{ID: c.id}
	}
	by := c.leaving()
	var due []eventlog.Draft
	for p := range c.dev.Assignments {
		if p.Assigned() {
			due = append(due, by.sign(eventlog.Draft{
				Subject: eventlog.DesiredSubject(c.id, p.Name), Type: eventlog.DesiredWithdrawn,
				CorrelationID: correlation(p.Deployment.Key, p.Desired.Revision), Namespace: p.Deployment.Key.Namespace, Revision: p.Desired.Revision,
			}))
		}
	}
	for _, d := range c.reported() {
		due = append(due, by.sign(d))
	}
	if c.dev.Decommissioned {
		return due, true, nil
	}
	d, err := eventlog.NewDraft(eventlog.DeviceSubject(c.id), eventlog.DeviceDecommissioned, c.now, eventlog.Removal{Reason: by.reason})
	return append(due, by.sign(d)), true, err
}

// reported gives the events that clear what the device has in the buckets. A
// device that floods the log gets none: it could have the operator write as much.
func (c deviceCase) reported() []eventlog.Draft {
	if c.dev.Decommissioned && c.dev.Access != nil {
		return nil
	}
	var due []eventlog.Draft
	cleared := func(name string) {
		d := eventlog.Draft{Subject: eventlog.StateSubject(c.id, name), Type: eventlog.StateCleared}
		if name == fleet.LateInfo {
			d = eventlog.Draft{Subject: eventlog.InfoSubject(c.id), Type: eventlog.InfoCleared}
		}
		due = append(due, d)
	}
	for p := range c.dev.Assignments {
		if p.Reported.Sequence > 0 {
			cleared(p.Name)
		}
	}
	if c.dev.Info != nil {
		cleared(fleet.LateInfo)
	}
	for _, name := range c.dev.Late {
		cleared(name)
	}
	return due
}

// departure is why a device leaves, and who said so.
type departure struct {
	deviceCase
	reason, actor, cause string
}

// leaving gives the departure of a device that is out: a person's request goes
// before the CR's deletion, as it names the person.
func (c deviceCase) leaving() departure {
	switch {
	case c.dev.Leaving != nil:
		return departure{c, ReasonRequested, c.dev.Leaving.User, c.dev.Leaving.Mark.ID}
	case c.dev.Decommissioned:
		return departure{deviceCase: c}
	}
	return departure{c, ReasonDeviceDeleted, ActorUnknown, ""} // the CR does not say who deleted it
}

// sign puts on an event when, by whom and because of what it is.
func (d departure) sign(e eventlog.Draft) eventlog.Draft {
	e.Time, e.Actor, e.CausationID = d.now, d.actor, d.cause
	return e
}

// out says whether nothing is to be placed on a device: it has left the fleet, or
// a person takes it out.
func (s *State) out(id string) bool {
	if d := s.view.Devices[id]; d != nil && d.Out() {
		return true
	}
	return s.leaving[id]
}

// SetLeaving notes whether a Device's CR is being deleted in a way that takes the
// device out of the fleet. It says whether that is news.
func (s *State) SetLeaving(id string, leaving bool) bool {
	if s.leaving[id] == leaving {
		return false
	}
	s.moved[id] = true
	if leaving {
		s.leaving[id] = true
	} else {
		delete(s.leaving, id)
	}
	return true
}

// noteLeaver remembers a device that has yet to take a Deployment off which is not
// placed now: an orphan may be adopted, and its devices are unavailable through it still.
func (s *State) noteLeaver(key fleet.Key, id string) {
	if s.leavers[key] == nil {
		s.leavers[key] = map[string]struct{}{}
	}
	s.leavers[key][id] = struct{}{}
}

// noteLeavers looks for such devices in the whole view.
func (s *State) noteLeavers() {
	clear(s.leavers)
	for id, dev := range s.view.Devices {
		for p := range dev.Assignments {
			if p.Leaving() {
				s.noteLeaver(*p.Key, id)
			}
		}
	}
}
