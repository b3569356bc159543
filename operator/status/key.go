package status

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/projections/fleet"
)

// ConditionKeyExpiring on a Device says that the key by which it gets its tokens ends
// soon, or has ended. It comes and goes by time alone.
const ConditionKeyExpiring = "KeyExpiring"

// KeyWarning is how long before its end a key is said to end soon.
const KeyWarning = 30 * 24 * time.Hour

// Reasons of KeyExpiring.
const (
	// ReasonExpiresSoon (KeyExpiring=True): the key ends within KeyWarning.
	ReasonExpiresSoon = "ExpiresSoon"
	// ReasonExpired (KeyExpiring=True): the key has ended.
	ReasonExpired = "Expired"
)

// KeyExpires is when a device's key ends, as the device reports it; zero where it does
// not say.
func KeyExpires(d *fleet.Device) time.Time {
	if d == nil || d.Info == nil {
		return time.Time{}
	}
	return d.Info.KeyExpires
}

// KeyReason is the reason of KeyExpiring for a key of that end; empty where the
// condition is not true.
func KeyReason(expires, now time.Time) string {
	switch {
	case expires.IsZero() || now.Before(expires.Add(-KeyWarning)):
		return ""
	case now.Before(expires):
		return ReasonExpiresSoon
	}
	return ReasonExpired
}

// KeyTurns is how long it takes until KeyReason says something else, though nothing
// happens; 0 where it never does.
func KeyTurns(expires, now time.Time) time.Duration {
	switch KeyReason(expires, now) {
	case ReasonExpiresSoon:
		return expires.Sub(now)
	case "":
		if !expires.IsZero() {
			return expires.Add(-KeyWarning).Sub(now)
		}
	}
	return 0
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

func keyExpiring(d *fleet.Device, now time.Time) (metav1.Condition, bool) {
	expires := KeyExpires(d)
	reason := KeyReason(expires, now)
	if reason == "" {
		return metav1.Condition{}, false
	}
	return metav1.Condition{Type: ConditionKeyExpiring, Status: metav1.ConditionTrue, Reason: reason, Message: KeySentence(d.ID, reason, expires)}, true
}
