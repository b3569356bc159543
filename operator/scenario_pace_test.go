package operator_test

import (
	"fmt"
	"strings"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/devicetest"
)

// A window that closes in mid-rollout: what was given is judged in closed hours, and the
// rest waits for the next window.
func aWindowClosesInMidRollout(s scenario) {
	window := func(at time.Time) string {
		return fmt.Sprintf(`{"schedule":"%d %d * * *","timeZone":"UTC","duration":"1m"}`, at.Minute(), at.Hour())
	}
	s.set("web", "app:1", `{}`)
	s.completes("web", 1, len(s.ids))
	first := time.Now().UTC().Add(20 * time.Second).Truncate(time.Minute).Add(time.Minute)
	second := first.Add(2 * time.Minute)
	s.fleet.Set(s.image("app:2"), devicetest.Accepts)
	s.set("web", "app:2", batched(5, "1s", "300s", `,"windows":[`+window(first)+","+window(second)+"]"))
	waits := func(given int, until time.Time) {
		s.t.Helper()
		r := s.until("web", "waits for a window", func(r *v1alpha1.RolloutStatus) bool {
			return r.Revision == 2 && r.Reason == v1alpha1.ReasonAwaitingWindow && strings.Contains(r.Message, until.Format(time.RFC3339))
		})
		if n := s.have("web", "app:2"); n != given {
			s.t.Errorf("%d devices were given revision 2, want %d: %+v", n, given, r)
		}
	}
	waits(0, first)
	time.Sleep(time.Until(first)) // longer than anything else is waited for
	s.until("web", "gives it to the first batch", func(r *v1alpha1.RolloutStatus) bool { return r.Updating == 5 })
	time.Sleep(time.Until(first.Add(time.Minute + time.Second))) // until the window is closed
	s.fleet.Set(s.image("app:2"), devicetest.Runs)
	waits(5, second)
	if said := strings.Join(s.newest("web"), " "); !strings.HasSuffix(said, "batch_succeeded 1") {
		s.t.Errorf("in closed hours the first batch is judged, and the log says %s", said)
	}
	time.Sleep(time.Until(second))
	s.completes("web", 2, len(s.ids))
	s.onceEach("web")
	for _, e := range s.events(eventlog.FamilySubjects(eventlog.FamilyDesired)) {
		opens, closes := first, first.Add(time.Minute+10*time.Second)
		if e.Batch == 2 {
			opens, closes = second, second.Add(time.Minute+10*time.Second)
		}
		if e.Namespace == s.ns && e.Revision == 2 && (e.Recorded.Before(opens.Add(-time.Second)) || e.Recorded.After(closes)) {
			s.t.Errorf("batch %d was given to %s at %s, and its window opens at %s", e.Batch, e.Address.Device, e.Recorded, opens)
		}
	}
}

// A rate that grows: devices that have nothing are given a Deployment no faster than it
// says, and faster once some run it.
func aRateGrows(s scenario) {
	per := eventlog.Duration(time.Second)
	rate := &eventlog.Rate{Devices: 20, Per: &per, Increase: &eventlog.RateIncrease{AfterSucceeded: 40, Percent: 100, MaxDevices: 150}}
	s.set("web", "app:1", `{"rate":{"devices":20,"per":"1s","increase":{"afterSucceeded":40,"percent":100,"maxDevices":150}}}`)
	s.completes("web", 1, len(s.ids))
	var next time.Time
	ran, gave := map[uint64]bool{}, map[uint64]bool{}
	left, given := 0, 0
	for _, e := range s.events(eventlog.FamilySubjects(eventlog.FamilyDesired), eventlog.FamilySubjects(eventlog.FamilyState)) {
		if e.Type == eventlog.StateReported {
			if st, err := e.State(); err == nil && st.Phase == eventlog.PhaseRunning && gave[st.Assignment] {
				ran[st.Assignment] = true
			}
			continue
		}
		if e.Namespace != s.ns {
			continue
		}
		switch {
		case !e.Recorded.Before(next):
			left = rate.Burst(len(ran)) - 1
		case left > 0:
			left--
		default:
			s.t.Errorf("device %d was given it at %s, and the rate of %d in a second lets that be at %s only", given, e.Recorded, rate.Now(len(ran)), next)
		}
		if e.Recorded.After(next) {
			next = e.Recorded
		}
		next = next.Add(rate.Interval(len(ran)))
		gave[e.Sequence] = true
		given++
	}
	if given != len(s.ids) || rate.Now(len(ran)) != 150 {
		s.t.Errorf("%d devices were given it, and at the end the rate is %d in a second", given, rate.Now(len(ran)))
	}
}
