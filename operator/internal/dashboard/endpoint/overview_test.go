package endpoint_test

import (
	"encoding/json"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/internal/dashboard/dashboardtest"
	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/present"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/storytest"
)

// The overview of now is the list of fleetctl top: a bucket that is gone is on it, and a device
// is not that is away for no longer than it used to be.
func TestTheOverviewIsTheListOfFleetctlTop(t *testing.T) {
	t.Parallel()
	js := dashboardtest.NewLog(t)
	story := storytest.New(t)
	away := func(id string, since time.Duration) {
		story.Say(eventlog.DeviceSubject(id), eventlog.DeviceOffline, eventlog.Presence{Reason: "PulseTimeout", LastSeen: time.Now().Add(-since)}, func(d *eventlog.Draft) { d.Time = time.Now() })
	}
	for _, id := range []string{"nightly", "steady"} {
		story.Device(id, map[string]string{"site": "lab"})
		story.Online(id)
	}
	away("nightly", 30*time.Hour)
	story.Online("nightly")
	away("nightly", 2*time.Hour)
	away("steady", 2*time.Hour)
	dashboardtest.Publish(t, js, story)
	if _, err := buckets.Ensure(t.Context(), js, buckets.Config{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	gone := eventlog.Buckets()[0]
	if err := js.DeleteKeyValue(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Kind  attention.Kind
		Title string
	}
	listed := func(items []attention.Item) []entry {
		out := []entry{}
		for _, i := range items {
			out = append(out, entry{i.Kind, i.Title})
		}
		return out
	}
	v, err := asof.At(t.Context(), js, asof.Moment{}, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	habits, err := present.Habits(t.Context(), js, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var want []entry
	dashboardtest.Eventually(t, "fleetctl top lists the bucket and the device, and the other buckets have what the log has", func() bool {
		facts, ahead, err := present.Look(t.Context(), js, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		facts.Habits = habits
		want = listed(attention.Of(v, time.Now().Add(ahead), facts))
		return len(want) == 2 && want[0].Kind == attention.BucketStalled && want[1].Title == "steady is offline"
	})
	var c dashboardtest.Clock
	s := dashboardtest.New(t, js, c.Use)
	dashboardtest.Eventually(t, "the overview is the list of fleetctl top", func() bool {
		_, body := s.Get("/api/v1/overview")
		c.Add(10 * time.Second) // so that the answer is none that was kept
		var m model.Overview
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
		got := listed(m.Attention)
		return len(got) == len(want) && got[0] == want[0] && got[1] == want[1]
	})
}
