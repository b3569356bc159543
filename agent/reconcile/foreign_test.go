package reconcile_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
)

// A person's container that has the fleet's labels is named in the journal once,
// and left alone: beside the service that it is a copy of, when that is withdrawn,
// and when it runs no more.
func TestAForeignContainerIsReportedOnceAndLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		hash := assigned(service("web", "a:1")).Score.Services[0].Hash
		e.containers["copy"] = engine.Container{
			Identity: engine.Identity{Device: "pi-01", Deployment: "hello", Service: "web"},
			ID:       "copy", Name: "my-debug", Hash: hash, State: engine.StateExited, Foreign: "its name is not the fleet's",
		}
		w, stop := keep(t, e)
		w.source.set(assigned(service("web", "a:1")))
		time.Sleep(time.Minute)
		synctest.Wait()
		w.phase(t, eventlog.PhaseRunning, "")
		if s := w.reports.state("hello"); len(s.Services) != 1 || s.Services[0].ContainerID == "copy" {
			t.Errorf("reported services %+v, want the fleet's own container alone", s.Services)
		}
		w.source.set(plan.Withdrawn("hello"))
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if len(e.containers) != 1 || e.containers["copy"].State != engine.StateExited || e.starts["copy"] != 0 {
			t.Errorf("containers %+v, want the foreign one as it was", e.containers)
		}
		if len(w.reports.cleared) == 0 {
			t.Error("the withdrawal is not reported as done beside a foreign container")
		}
		told := 0
		for i, s := range w.reports.steps {
			if s.Reason != engine.ReasonForeignContainer {
				continue
			}
			told++
			if w.reports.journal[i] != eventlog.AgentDriftDetected || s.Deployment != "hello" || s.Service != "web" || !strings.Contains(s.Error, "my-debug") {
				t.Errorf("told as %s: %+v", w.reports.journal[i], s)
			}
		}
		if told != 1 {
			t.Errorf("told %d times, want once", told)
		}
	})
}
