package decide_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
)

// Anyone who reads the log finds out of which change an event came: the events of
// one revision correlate, and each names the event that caused it.
func TestEveryEventOfADeploymentNamesItsRevisionAndItsCause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"))
	w.settle(w.put(cr("a", "web", "app:1", site)))
	w.settle(w.put(cr("a", "web", "app:2", site, generation(2))))
	w.settle(w.put(cr("a", "web", "app:2", site, generation(2), deleting)))
	// The test's log gives its events the ids ID-1, ID-2 and so on.
	var got []string
	for i, d := range w.log {
		got = append(got, fmt.Sprintf("ID-%d %s: %s because of %s", i+1, d.Type, d.CorrelationID, d.CausationID))
	}
	want := []string{
		"ID-1 device.relabeled:  because of ",
		"ID-2 deployment.applied: a/web@1 because of ",
		"ID-3 rollout.started: a/web@1 because of ID-2",
		"ID-4 desired.assigned: a/web@1 because of ID-2",
		"ID-5 deployment.applied: a/web@2 because of ",
		"ID-6 rollout.superseded: a/web@1 because of ID-5",
		"ID-7 rollout.started: a/web@2 because of ID-5",
		"ID-8 desired.assigned: a/web@2 because of ID-5",
		"ID-9 deployment.deleted: a/web@2 because of ",
		"ID-10 desired.withdrawn: a/web@2 because of ID-9",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}

// The events of one decision have an order that no map's order changes, so that
// two operators which decide the same append the same.
func TestTheEventsOfADecisionComeInTheOrderOfTheirSubjects(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]func(*world) decide.Input{
		"a new Deployment": func(w *world) decide.Input { return w.put(cr("b", "new", "app:1", site)) },
		"a selector that matches none of the devices any more": func(w *world) decide.Input {
			return w.put(cr("a", "web", "app:1", map[string]string{"site": "shop"}, generation(2)))
		},
		"a Deployment's end": func(w *world) decide.Input { return w.put(cr("a", "web", "app:1", site, deleting)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for i := range 30 {
				w.settle(w.label(fmt.Sprintf("pi-%02d", i*7%30), "site", "lab"))
			}
			w.settle(w.put(cr("a", "web", "app:1", site)))
			var desired []string
			for _, d := range w.settle(in(w)) {
				if d.Type == eventlog.DesiredAssigned || d.Type == eventlog.DesiredWithdrawn {
					desired = append(desired, d.Subject)
				}
			}
			if len(desired) != 30 || !slices.IsSorted(desired) {
				t.Errorf("%d subjects in the order %s, want 30 sorted", len(desired), desired)
			}
		})
	}
}

// A device that begins to match gets nothing of a Deployment that is about to end
// or cannot be placed, though its own turn has not come yet.
func TestADeviceThatBeginsToMatchGetsNothingOfWhatIsNotToBePlaced(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]crOption{
		"the Deployment is being deleted":           deleting,
		"the operator does not know its score type": scoreType("WasmV7"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
			w.put(cr("a", "web", "app:1", site, then)) // the log has not heard of it
			if diff := cmp.Diff([]string{"device.relabeled device.pi-02"}, told(w.settle(w.label("pi-02", "site", "lab")))); diff != "" {
				t.Errorf("for a device that begins to match (-want +got):\n%s", diff)
			}
		})
	}
}

// The end of a Deployment whose CR is gone names the CR that it was.
func TestAnOrphansEndNamesTheCRThatItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
	w.RemoveDeployment(key("a/web"))
	var end eventlog.DeploymentEnd
	due := w.settle(decide.OfDeployment(key("a/web")))
	if len(due) != 1 {
		t.Fatalf("a missing CR takes %q, want one event", told(due))
	}
	if err := json.Unmarshal(due[0].Data, &end); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(eventlog.DeploymentEnd{UID: "uid-a-web", Reason: decide.ReasonCRMissing}, end); diff != "" {
		t.Errorf("deployment.orphaned (-want +got):\n%s", diff)
	}
}
