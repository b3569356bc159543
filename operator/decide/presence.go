package decide

import (
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

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
