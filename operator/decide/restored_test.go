package decide_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
)

// A log that comes from an archive may say that a Deployment was withdrawn, while
// its CR, applied since, asks for the device, which runs it. Anyone who is asked
// first, the device keeps it.
func TestWhatACRAsksForIsNotWithdrawnAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	device := w.label("pi-01", "site", "lab")
	w.settle(device)
	w.append(eventlog.Draft{Subject: eventlog.DesiredSubject("pi-01", "web"), Type: eventlog.DesiredWithdrawn, Time: now, Namespace: "a", Revision: 1})
	w.later = 120 // the report comes long after
	w.report("pi-01", "web", eventlog.PhaseRunning)
	deployment := w.put(cr("a", "web", "app:1", site))
	if got := told(w.settle(device)); len(got) != 0 {
		t.Errorf("asked about the device first: %v", got)
	}
	want := []string{"deployment.applied deployment.a.web", "rollout.started deployment.a.web", "desired.assigned desired.pi-01.web"}
	if diff := cmp.Diff(want, told(w.settle(deployment, device))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
