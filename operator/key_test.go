package operator_test

import (
	"fmt"
	"testing"
	"time"

	"fleet.nationtech.io/projections/attention"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/status"
)

// keyReason is the reason of a Device's KeyExpiring; empty without the condition.
func (w *world) keyReason(id string) string {
	w.t.Helper()
	d, err := w.fleet.FleetV1alpha1().Devices().Get(w.t.Context(), id, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	c := meta.FindStatusCondition(d.Status.Conditions, status.ConditionKeyExpiring)
	if c == nil {
		return ""
	}
	return c.Reason
}

// The end of a key becomes a condition by time alone: nothing happens to the device.
func TestTheEndOfAKeyIsAConditionByTheClockAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	key := func(id string, ends time.Time) {
		w.json(eventlog.InfoSubject(id), eventlog.DeviceInfo{DeviceID: id, UpdatedAt: time.Now(), KeyExpires: ends})
	}
	is := func(id, reason string) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s has reason %q", id, reason), func() string {
			if got := w.keyReason(id); got != reason {
				return "it has " + got
			}
			return ""
		})
	}
	years := time.Now().AddDate(2, 0, 0)
	for _, id := range []string{"no-key", "new", "soon", "ends"} {
		w.device(id, nil)
		if id != "no-key" {
			key(id, years)
		}
		is(id, "")
	}
	const ahead = 20 * time.Second // a busy machine shows in it what is so until then
	began := time.Now()
	key("soon", began.Add(attention.KeyWarning+ahead))
	key("ends", began.Add(ahead))
	is("ends", attention.ReasonExpiresSoon)
	if got := w.keyReason("soon"); got != "" && time.Since(began) < ahead {
		t.Errorf("more than 30 days before the end: %s", got)
	}
	is("ends", attention.ReasonExpired)
	is("soon", attention.ReasonExpiresSoon)
	if took := time.Since(began); took < ahead {
		t.Errorf("they turned after %s", took)
	}
	is("no-key", "")
	is("new", "")
	eventually(t, "the metric", func() string {
		if n := op.metric(t, "fleet_operator_key_expiring_devices"); n != 2 {
			return fmt.Sprint(n)
		}
		return ""
	})
	key("ends", years) // it got a new key
	is("ends", "")
}
