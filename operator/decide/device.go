package decide

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// deviceRules are tried in order; the first that finds something due ends the
// round.
var deviceRules = []rule[deviceCase]{
	answerAccessRequest, // first: a person's word goes before what follows from it
	revokeFlooding,      // next, so that nothing that the device says can put it off
	leave,
	register,
	relabel,
	assignToDevice,
	withdrawAgain,
}

// register: a device is known from its first info on.
func register(c deviceCase) ([]eventlog.Draft, bool, error) {
	if c.dev == nil || c.dev.Info == nil || c.dev.Registered {
		return nil, false, nil
	}
	d, err := eventlog.NewDraft(eventlog.DeviceSubject(c.id), eventlog.DeviceRegistered, c.now,
		eventlog.Registration{AgentVersion: clip(c.dev.Info.Inventory.AgentVersion, maxAgentVersion)})
	return []eventlog.Draft{d}, false, err
}

// relabel: the log learns the labels that select before anything is done about
// them, with who set each.
func relabel(c deviceCase) ([]eventlog.Draft, bool, error) {
	ls, ok := c.devices[c.id]
	if !ok || !nameable(c.id) {
		return nil, true, nil // no Device CR: nothing is decided about it
	}
	if c.dev != nil && maps.Equal(c.dev.Labels, ls.owned) {
		return nil, false, nil
	}
	if err := checkLabels(ls.owned); err != nil {
		return nil, true, err
	}
	d, err := eventlog.NewDraft(eventlog.DeviceSubject(c.id), eventlog.DeviceRelabeled, c.now, eventlog.Labels{Labels: ls.owned})
	return []eventlog.Draft{d}, false, err
}

// nameable says whether an id can be a token of a subject.
func nameable(device string) bool { return eventlog.CheckName("device", device) == nil }

// assignToDevice: a device gets what it should have and has nothing of, of the
// Deployments that match it.
func assignToDevice(c deviceCase) ([]eventlog.Draft, bool, error) {
	c.refresh()
	var keys []fleet.Key
	for p := c.placesOf[c.id]; p != nil; p = p.next {
		if p.values.fresh && !p.of.rated() {
			keys = append(keys, p.of.key)
		}
	}
	slices.SortFunc(keys, byApplied(c.State))
	var due []eventlog.Draft
	claimed := map[string]bool{} // names that this round gives away
	for _, key := range keys {
		dc := c.deploymentCase(key, c.now)
		if dc.place == nil || claimed[key.Name] || !c.current(dc.spec) {
			continue // the Deployment's own turn will come
		}
		if d, ok := dc.assignedFirst(dc.place.places[c.id], c.dev.LabelsID); ok {
			due = append(due, d)
			claimed[key.Name] = true
		}
	}
	return due, false, nil
}

// byApplied puts the Deployment that the log applied first in front: it wins a
// name.
func byApplied(s *State) func(a, b fleet.Key) int {
	seq := func(k fleet.Key) uint64 {
		if d := s.view.Deployments[k]; d != nil {
			return d.Applied.Sequence
		}
		return 0
	}
	return func(a, b fleet.Key) int {
		if x, y := seq(a), seq(b); x != y {
			if x < y {
				return -1
			}
			return 1
		}
		return strings.Compare(a.String(), b.String())
	}
}

// strayTimeout is how long a device may go on reporting what was withdrawn before the
// operator withdraws it again, by the log's clock, which records both.
const strayTimeout = 30 * time.Second

// withdrawAgain: what a device still reports after the log withdrew it there is
// withdrawn again. What it reports of a Deployment that this log never knew is
// left alone, and so is what a CR asks for there: the log may come from an
// archive, and be about to learn of that CR.
func withdrawAgain(c deviceCase) ([]eventlog.Draft, bool, error) {
	var due []eventlog.Draft
	for p := range c.dev.Assignments {
		if p.Withdrawn() && !c.asked(p.Name) && p.Reported.Sequence > p.Desired.Sequence && p.Reported.Recorded.Sub(p.Desired.Recorded) > strayTimeout {
			due = append(due, eventlog.Draft{
				Subject: eventlog.DesiredSubject(c.id, p.Name), Type: eventlog.DesiredWithdrawn, Time: c.now,
				CausationID: "state@" + strconv.FormatUint(p.Reported.Sequence, 10), Namespace: p.Namespace, Revision: p.Desired.Revision,
			})
		}
	}
	return due, false, nil
}

// asked says whether a CR of a name asks for the device.
func (c deviceCase) asked(name string) bool {
	for key := range c.byName[name] {
		if spec := c.specs[key]; !spec.Deleting && spec.Problem == nil && c.selects(spec.Selector, c.id) {
			return true
		}
	}
	return false
}

// revokeFlooding: a device that floods the log loses its access; where there is no
// callout to enforce it, the event is the alarm.
func revokeFlooding(c deviceCase) ([]eventlog.Draft, bool, error) {
	if c.dev == nil || c.dev.Access != nil || !c.dev.Traffic.Flooding() {
		return nil, false, nil
	}
	d, err := eventlog.NewDraft(eventlog.AccessSubject(c.id), eventlog.AccessRevoked, c.now, eventlog.Access{
		Reason:  fleet.ReasonFlooding,
		Message: "the device wrote more to the log than its budget of " + strconv.Itoa(fleet.TrafficRate) + " bytes a second",
	})
	return []eventlog.Draft{d}, false, err
}

// correlation is what all events of one revision share, from its apply to its
// last assignment: namespace/name@revision.
func correlation(k fleet.Key, revision uint64) string {
	return k.String() + "@" + strconv.FormatUint(revision, 10)
}

// maxAccessReason bounds what a person wrote in a request about access, in bytes,
// where it goes into the event that answers it.
const maxAccessReason = 1 << 10

// answerAccessRequest: what a person asks about a device's access is done, in the
// person's name.
func answerAccessRequest(c deviceCase) ([]eventlog.Draft, bool, error) {
	if c.dev == nil || c.dev.AccessRequest == nil || !nameable(c.id) {
		return nil, false, nil
	}
	asked := c.dev.AccessRequest
	typ := eventlog.AccessRevoked
	if asked.Verb == eventlog.RequestAllow {
		typ = eventlog.AccessAllowed
	}
	d, err := eventlog.NewDraft(eventlog.AccessSubject(c.id), typ, c.now,
		eventlog.Access{Reason: ReasonRequested, Message: clip(asked.Reason, maxAccessReason)})
	d.Actor, d.CausationID = asked.User, asked.Mark.ID
	return []eventlog.Draft{d}, false, err
}

// Reasons of a device's presence, as its events carry them.
const (
	// ReasonPulseReceived: a pulse came within the timeout.
	ReasonPulseReceived = "PulseReceived"
	// ReasonPulseMissed: none came for the whole timeout.
	ReasonPulseMissed = "PulseMissed"
)

// Verdict is what the pulse of a device says of its presence.
type Verdict struct {
	Online   fleet.Online
	LastSeen time.Time     // zero: never heard
	Since    time.Time     // when the verdict was reached
	Timeout  time.Duration // the silence that is allowed
}

// Presence gives the event that the log is owed about a device's presence: none
// while there is no verdict, while the log says the same, or while the log does
// not know the device.
func Presence(s *State, id string, v Verdict, now time.Time) ([]eventlog.Draft, error) {
	dev := s.view.Devices[id]
	if dev == nil || dev.Decommissioned || !dev.Registered || v.Online == fleet.OnlineUnknown || v.Online == dev.Presence.Online {
		return nil, nil
	}
	typ, p := eventlog.DeviceOnline, eventlog.Presence{Reason: ReasonPulseReceived, LastSeen: v.LastSeen}
	if v.Online == fleet.OnlineFalse {
		typ, p = eventlog.DeviceOffline, eventlog.Presence{Reason: ReasonPulseMissed, LastSeen: v.LastSeen, Timeout: v.Timeout.Seconds()}
	}
	d, err := eventlog.NewDraft(eventlog.DeviceSubject(id), typ, now, p)
	if err != nil {
		return nil, err
	}
	return []eventlog.Draft{d}, nil
}
