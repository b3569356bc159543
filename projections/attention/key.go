package attention

import (
	"fmt"
	"time"

	"fleet.nationtech.io/projections/fleet"
)

// KeyWarning is how long before its end a device's key is said to end soon.
const KeyWarning = 30 * 24 * time.Hour

// How a device's key stands.
const (
	ReasonExpiresSoon = "ExpiresSoon" // it ends within KeyWarning
	ReasonExpired     = "Expired"     // it has ended
)

// KeyExpires is when a device's key ends, as the device reports it; zero where it does
// not say.
func KeyExpires(d *fleet.Device) time.Time {
	if d == nil || d.Info == nil {
		return time.Time{}
	}
	return d.Info.KeyExpires
}

// KeyReason is how a key of that end stands; empty where nothing is to be said.
func KeyReason(expires, now time.Time) string {
	switch {
	case expires.IsZero() || now.Before(expires.Add(-KeyWarning)):
		return ""
	case now.Before(expires):
		return ReasonExpiresSoon
	}
	return ReasonExpired
}

// KeySentence says of a device's key what its reason means and what to do.
func KeySentence(id, reason string, expires time.Time) string {
	at := expires.UTC().Format(time.RFC3339)
	if reason == ReasonExpired {
		return fmt.Sprintf("the device's key ended at %s: the provider gives it no token any more, and it is cut off once its last token ends. "+
			"It can no longer prove who it is: enrol it again, or while it answers fleetctl ping %s use fleetctl enroll rotate --unproven %s", at, id, id)
	}
	return fmt.Sprintf("the device's key ends at %s: give it a new one before, by fleetctl enroll rotate %s", at, id)
}

func (l *list) key(d *fleet.Device) {
	expires := KeyExpires(d)
	reason := KeyReason(expires, l.now)
	if reason == "" {
		return
	}
	i := Item{
		Kind: KeyExpiring, Severity: Notice, Name: d.ID, Since: expires.Add(-KeyWarning), Title: "the key of " + d.ID + " ends soon",
		Reason: KeySentence(d.ID, reason, expires), Command: "fleetctl enroll rotate " + d.ID,
	}
	if reason == ReasonExpired {
		i.Severity, i.Title, i.Since, i.Command = Warning, "the key of "+d.ID+" has ended", expires, "fleetctl device why "+d.ID
	}
	l.device(i)
}
