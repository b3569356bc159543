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

// The rate holds nothing back where nothing could be given anyway: then the status names
// what does.
func TestTheRateIsNotBlamedForAWindowOrABudget(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings string
		given    int
		blamed   bool
	}{
		"the rate alone":                       {`"maxUnavailable": 2`, 1, true},
		"as many are unavailable as may be":    {`"maxUnavailable": 1`, 1, false},
		"the windows closed after a first one": {`"maxUnavailable": 2, "windows": [{"schedule": "0 14 * * *", "duration": "5m"}]`, 1, false}, // until 14:05
	} {
		s := newShow(t, 3)
		s.apply("app:1", "{}")
		s.pass(time.Second)
		s.apply("app:2", `{"batches": [{}], "rate": {"devices": 1, "per": "1h"}, `+c.settings+`}`) // of which devices say nothing
		s.pass(time.Second)
		s.pass(3 * time.Minute)
		if got := s.given("app:2"); got != c.given {
			t.Errorf("%s: %d devices were given it, want %d", name, got, c.given)
		}
		if got := s.Progress(key("a/web")).Paced; got != c.blamed {
			t.Errorf("%s: the rate is blamed: %v, want %v", name, got, c.blamed)
		}
	}
}
