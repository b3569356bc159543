package model_test

import (
	"testing"
	"time"

	"fleet.nationtech.io/operator/internal/dashboard/model"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// A moment of the past may be long after the log's last event. What is wrong for how long counts to
// the moment, as for fleetctl top --at.
func TestAnOverviewOfThePastCountsToItsMoment(t *testing.T) {
	t.Parallel()
	story := storytest.New(t)
	story.Device("pi-1", map[string]string{"site": "lab"})
	story.Online("pi-1")
	story.Offline("pi-1")
	v := story.Fleet(timeline.Options{})
	for after, want := range map[time.Duration]int{time.Minute: 0, time.Hour: 1} {
		o := model.OverviewOf(resource.NewCatalog(v, v.Recorded.Add(after)), false, model.Present{})
		if len(o.Attention) != want {
			t.Errorf("%s after the device went offline, %d things need a person, want %d: %+v", after, len(o.Attention), want, o.Attention)
		}
	}
}
