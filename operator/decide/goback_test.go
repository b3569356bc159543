package decide_test

import (
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// A revision can break what it depends on, and that can go. What a person undoes is undone
// all the same.
func TestARollbackWaitsForNoOtherDeployment(t *testing.T) {
	t.Parallel()
	for name, db := range map[string]func(s *show, id string){
		"it is broken": func(s *show, id string) { s.report(id, "db", eventlog.PhaseFailed) },
		"it is gone":   func(s *show, _ string) { s.settle(s.put(cr("a", "db", "db:1", site, deleting))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShow(t, 3)
			s.db(`{"strategy":"Immediate"}`)
			for _, id := range s.ids {
				s.report(id, "db", eventlog.PhaseRunning)
			}
			s.apply("app:1", dependsOnDB)
			s.pass(0)
			s.nature["app:2"] = eventlog.PhaseFailed
			s.apply("app:2", dependsOnDB)
			s.pass(0)
			s.pass(2 * time.Minute)
			for _, id := range s.ids {
				if s.View().Devices[id].Pair("web").Failed() {
					db(s, id)
				}
			}
			s.settle(decide.OfProgress(key("a/db")))
			s.ask(eventlog.RequestUndo, nil)
			s.pass(0)
			s.pass(time.Hour)
			if got := s.run(); got.Phase != fleet.PhaseRolledBack || s.given("app:2") > 0 {
				t.Errorf("it is %s (%s), and %d devices keep what was undone: %s", got.Phase, got.Reason, s.given("app:2"), got.Message)
			}
		})
	}
}
