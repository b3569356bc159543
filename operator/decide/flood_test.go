package decide_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

// flood has a device write more than its budget, at one moment.
func (w *world) flood(id string) {
	for range fleet.TrafficBurst>>18 + 1 {
		w.append(eventlog.Draft{Subject: eventlog.AgentSubject(id), Type: eventlog.AgentStarted, Time: w.at(), Data: make([]byte, 1<<18)})
	}
}

func TestADeviceThatFloodsTheLogLosesItsAccessOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
	ask := func() []string { return told(w.settle(decide.OfDevice("pi-01"))) }
	revoked := []string{"access.revoked access.pi-01"}
	said := func(when string, want []string) {
		t.Helper()
		if diff := cmp.Diff(want, ask()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	allow := func() {
		w.tell(eventlog.AccessSubject("pi-01"), eventlog.AccessAllowed, eventlog.Access{Reason: "Forgiven"})
	}
	w.flood("pi-01")
	w.label("pi-01", "site", "shop") // and tries to be busy with something else
	first, err := decide.Decide(w.State, decide.OfDevice("pi-01"), now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(revoked, told(first)); diff != "" {
		t.Errorf("what is due first (-want +got):\n%s", diff)
	}
	said("at the flood", append(revoked, "device.relabeled device.pi-01", "desired.withdrawn desired.pi-01.web"))
	if a := w.View().Devices["pi-01"].Access; a == nil || a.Reason != fleet.ReasonFlooding {
		t.Errorf("access %+v, want it revoked for the reason Flooding", a)
	}
	w.flood("pi-01")
	said("while it is revoked", nil)
	allow()
	said("allowed while the flood is fresh", revoked)
	w.later = 5 * 60
	allow()
	said("allowed once it has leaked", nil)
	w.flood("pi-01")
	said("at the next flood", revoked)
}
