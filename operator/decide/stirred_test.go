package decide_test

import (
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// A log that is folded anew leaves nothing of the old one that somebody has to ask about:
// else the engine wakes up for ever.
func TestAnotherViewLeavesNothingToAskAbout(t *testing.T) {
	t.Parallel()
	s := newShow(t, 2)
	s.settle(s.put(cr("a", "web", "app:1", site)))
	s.SetView(fleet.New())
	s.seq = 0
	s.tell(eventlog.LeaderSubject, eventlog.LeaderElected, eventlog.Leader{Identity: "test"})
	for range 3 {
		if due, err := decide.Due(s.State, now); err != nil || len(due) > 0 {
			t.Fatalf("due %v, %v", due, err)
		}
	}
	if wake := s.Wake(); !wake.IsZero() {
		t.Errorf("nothing is placed, and it wakes up at %v", wake)
	}
}

// A circle of three ends with one of them: who depends on it by way of another hears of it.
func TestWhoWasInACircleHearsThatItEnded(t *testing.T) {
	t.Parallel()
	s := newShow(t, 1)
	s.settle(s.put(cr("a", "db", "db:1", site)))
	s.report("pi-000", "db", eventlog.PhaseRunning)
	s.settle(decide.OfProgress(key("a/db")))
	s.settle(s.put(cr("a", "q", "q:1", site, withRollout(`{"strategy":"Batched","dependsOn":["web"]}`))))
	s.settle(s.put(cr("a", "db", "db:1", site, generation(2), withRollout(`{"strategy":"Immediate","dependsOn":["q"]}`))))
	s.apply("app:1", dependsOnDB)
	s.pass(0)
	if !s.Progress(key("a/web")).Cycle || s.given("app:1") > 0 {
		t.Fatal("it is no circle")
	}
	s.settle(s.put(cr("a", "q", "q:1", site, withRollout(`{"strategy":"Batched","dependsOn":["web"]}`), deleting)))
	if p := s.Progress(key("a/web")); p.Cycle || p.Blocked > 0 {
		t.Errorf("q is gone: cycle %v, and %d devices still wait", p.Cycle, p.Blocked)
	}
}

// A circle ends by the settings of one: another's devices, which said nothing since, are
// given it as soon as the engine is asked about the time.
func TestACircleThatEndsLetsTheOthersGoOn(t *testing.T) {
	t.Parallel()
	s := newShow(t, 1)
	s.settle(s.put(cr("a", "db", "db:1", site)))
	s.report("pi-000", "db", eventlog.PhaseRunning)
	s.settle(decide.OfProgress(key("a/db")))
	s.settle(s.put(cr("a", "db", "db:1", site, generation(2), withRollout(`{"strategy":"Immediate","dependsOn":["web"]}`))))
	s.apply("app:1", dependsOnDB)
	s.pass(0)
	if !s.Progress(key("a/web")).Cycle || s.given("app:1") > 0 {
		t.Fatal("it is no circle")
	}
	// The operator asks about what changed: a/db. No device and not a/web changed.
	changes := s.View().Watch()
	s.settle(s.put(cr("a", "db", "db:1", site, generation(3), withRollout(`{"strategy":"Immediate"}`))))
	keys, ids := changes.Drain()
	t.Logf("changed: %v %v", keys, ids)
	for _, k := range keys {
		s.settle(decide.OfProgress(k))
	}
	for _, id := range ids {
		s.settle(decide.OfDevice(id))
	}
	for range 5 {
		due, err := decide.Due(s.State, now)
		if err != nil {
			t.Fatal(err)
		}
		s.append(due...)
	}
	if s.given("app:1") == 0 {
		t.Errorf("the circle is gone, and the operator gives the Deployment to no device: cycle %v, wake %v", s.Progress(key("a/web")).Cycle, s.Wake())
	}
}

// What others depend on is an orphan, and its devices go on reporting: a report about it
// costs the same for however many devices the others have.
func TestAReportAboutAnOrphanLooksAtOneDevice(t *testing.T) {
	t.Parallel()
	s := newShow(t, 20)
	s.settle(s.put(cr("a", "db", "db:1", site)))
	s.apply("app:1", dependsOnDB)
	s.RemoveDeployment(key("a/db"))
	s.settle(decide.OfDeployment(key("a/db")))
	if n := s.Looks(key("a/web"), func() { s.report("pi-007", "db", eventlog.PhaseRunning) }); n != 1 {
		t.Errorf("one report about an orphan looks at %d devices", n)
	}
}
