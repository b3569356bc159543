package status

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
)

// ConditionKeyExpiring on a Device says that the key by which it gets its tokens ends
// soon, or has ended. It comes and goes by time alone.
const ConditionKeyExpiring = "KeyExpiring"

// KeyTurns is how long it takes until KeyReason says something else, though nothing
// happens; 0 where it never does.
func KeyTurns(expires, now time.Time) time.Duration {
	switch attention.KeyReason(expires, now) {
	case attention.ReasonExpiresSoon:
		return expires.Sub(now)
	case "":
		if !expires.IsZero() {
			return expires.Add(-attention.KeyWarning).Sub(now)
		}
	}
	return 0
}

func keyExpiring(d *fleet.Device, now time.Time) (metav1.Condition, bool) {
	expires := attention.KeyExpires(d)
	reason := attention.KeyReason(expires, now)
	if reason == "" {
		return metav1.Condition{}, false
	}
	return metav1.Condition{Type: ConditionKeyExpiring, Status: metav1.ConditionTrue, Reason: reason, Message: attention.KeySentence(d.ID, reason, expires)}, true
}
