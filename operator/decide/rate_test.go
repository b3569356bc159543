package decide_test

import (
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/rollout"
)

// A rate bounds first assignments and updates alike, and grows with devices that succeed.
func TestARateThatGrows(t *testing.T) {
	t.Parallel()
	s := newShow(t, 40)
	s.nature["app:2"] = eventlog.PhaseRunning
	says := func(image string, want int) {
		t.Helper()
		if got := s.given(image); got != want {
			t.Errorf("after %s %d devices were given %s, want %d", s.clock, got, image, want)
		}
	}
	s.apply("app:1", `{"rate": {"devices": 4, "per": "1m"}}`) // one each 15 s
	s.pass(time.Second)
	says("app:1", 1)
	s.pass(13 * time.Second)
	says("app:1", 1)
	s.pass(2 * time.Second)
	says("app:1", 2)
	w := rollout.Look(s.View(), s.View().Deployments[key("a/web")], now.Add(s.clock)).OpenBatch()
	if w.Kind != rollout.WaitRate || !strings.Contains(w.Message, "38 devices of batch 1 wait for spec.rollout.rate, which is 4 devices in 1m0s now") {
		t.Errorf("it waits for %+v", w)
	}
	if !s.Progress(key("a/web")).Paced {
		t.Errorf("the status does not say that the rate holds the rest back")
	}
	s.apply("app:1", `{"rate": {"devices": 1000000, "per": "1s"}}`) // another rate counts at once
	for range 40 {
		s.pass(time.Second)
	}
	says("app:1", 40)
	s.apply("app:2", `{"batches": [{"soak": "1s"}], "maxUnavailable": "100%", "rate": {"devices": 1, "per": "1m", "increase": {"afterSucceeded": 2, "percent": 100, "maxDevices": 8}}}`)
	want := 0
	for _, step := range []struct{ minutes, more int }{{0, 1}, {1, 1}, {1, 2}, {1, 2}, {1, 4}, {1, 6}, {1, 8}, {1, 8}} {
		for range 60 * step.minutes {
			s.pass(time.Second)
		}
		want += step.more
		if got := s.given("app:2"); got < want-1 || got > want+3 {
			t.Errorf("after %s %d devices were given the new revision, want about %d", s.clock, got, want)
		}
	}
	at := len(s.log)
	for range 20 * 60 {
		s.pass(time.Second)
	}
	says("app:2", 40)
	if got := s.rollouts(at); strings.Join(got, ", ") != "batch_succeeded 1, completed" {
		t.Errorf("it ended by %v", got)
	}
}
