package attention_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/attentiontest"
	"fleet.nationtech.io/projections/storytest"
)

func TestAHabitIsTheLongestAbsenceThatADeviceCameBackFrom(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	attentiontest.Devices(w, 3)
	away := func(id string, d time.Duration, back bool) {
		w.Offline(id) // its last pulse was 100 s before
		w.Wait(d)
		w.Offline(id) // as another operator says after its election
		if back {
			w.Online(id)
		}
	}
	away("pi-01", time.Hour, true)
	away("pi-01", 8*time.Hour, true)
	away("pi-01", time.Minute, true)
	away("pi-02", 8*time.Hour, false) // it never came back, so that is no habit
	away("pi-03", time.Hour, true)
	w.Say(eventlog.DeviceSubject("pi-03"), eventlog.DeviceDecommissioned, eventlog.Removal{})
	h := attention.NewHabits()
	for e, err := range w.Log() {
		if err != nil {
			t.Fatal(err)
		}
		h.Add(e)
	}
	want := map[string]time.Duration{"pi-01": 8*time.Hour + 100*time.Second + 2*time.Second}
	if diff := cmp.Diff(want, h.Longest()); diff != "" {
		t.Error(diff)
	}
}
