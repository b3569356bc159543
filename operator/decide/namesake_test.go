package decide_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
)

// Two Deployments of one name would share a key on a device. The one that the log
// applied first gets it, whatever the namespaces are called, and it is told once.
func TestADeviceThatBeginsToMatchTwoNamesakesGetsTheOneThatWasAppliedFirst(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][2]string{"a before b": {"a", "b"}, "b before a": {"b", "a"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, ns := range order {
				w.settle(w.put(cr(ns, "web", "app:1", site)))
			}
			var assigned []string
			for _, d := range w.settle(w.label("pi-01", "site", "lab")) {
				if d.Type == eventlog.DesiredAssigned {
					assigned = append(assigned, d.Namespace)
				}
			}
			if diff := cmp.Diff([]string{order[0]}, assigned); diff != "" {
				t.Errorf("assigned (-want +got):\n%s", diff)
			}
		})
	}
}

// A placement may reach the log in parts: the log was full in between, or the
// operator was killed. A device that is faster than the rest does not complete it.
func TestARolloutIsNotCompletedBeforeItsPlacementIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"), w.label("pi-02", "site", "lab"))
	in := w.put(cr("a", "web", "app:1", site))
	for _, want := range [][]string{
		{"deployment.applied deployment.a.web"},
		{"rollout.started deployment.a.web"},
		{"desired.assigned desired.pi-01.web", "desired.assigned desired.pi-02.web"},
	} {
		due, err := decide.Decide(w.State, in, now)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, told(due)); diff != "" {
			t.Fatalf("due (-want +got):\n%s", diff)
		}
		w.append(due[:1]...) // of the placement, the first device alone
	}
	w.report("pi-01", "web", eventlog.PhaseRunning)
	if diff := cmp.Diff([]string{"desired.assigned desired.pi-02.web"}, told(w.settle(decide.OfProgress(key("a/web"))))); diff != "" {
		t.Errorf("one of two devices succeeded, and the other was not told yet (-want +got):\n%s", diff)
	}
	w.settle(in)
	w.report("pi-02", "web", eventlog.PhaseRunning)
	if diff := cmp.Diff([]string{"rollout.completed deployment.a.web"}, told(w.settle(decide.OfProgress(key("a/web"))))); diff != "" {
		t.Errorf("both succeeded (-want +got):\n%s", diff)
	}
}
