package liveness

import (
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
)

// Draft gives the event that the log is owed about a device's presence: none
// while there is no verdict, while the log says the same, or while the log does
// not know the device.
func Draft(dev *fleet.Device, v Verdict, now time.Time) (eventlog.Draft, bool, error) {
	if dev == nil || dev.Decommissioned || !dev.Registered || v.Online == fleet.OnlineUnknown || v.Online == dev.Presence.Online {
		return eventlog.Draft{}, false, nil
	}
	typ, p := eventlog.DeviceOnline, eventlog.Presence{Reason: status.ReasonPulseReceived, LastSeen: v.LastSeen}
	if v.Online == fleet.OnlineFalse {
		typ, p = eventlog.DeviceOffline, eventlog.Presence{Reason: status.ReasonPulseMissed, LastSeen: v.LastSeen, Timeout: v.Timeout.Seconds()}
	}
	d, err := eventlog.NewDraft(eventlog.DeviceSubject(dev.ID), typ, now, p)
	return d, err == nil, err
}
