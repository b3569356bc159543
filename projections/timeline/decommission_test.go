package timeline_test

import (
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

func TestADevicesHistoryTellsHowItLeft(t *testing.T) {
	t.Parallel()
	const d = "kasse-1"
	w := storytest.New(t)
	w.Apply(storytest.Till, 1, storytest.Podman("a"))
	w.Device(d, map[string]string{"site": "lab"})
	w.Assign(d, storytest.Till, 1, 1)
	w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
	w.Leaves(d, storytest.Till)
	w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1) // ignored
	w.Message(&nats.Msg{Subject: eventlog.InfoSubject(d), Data: []byte(`{"device_id":"kasse-1","inventory":{"os":"Fedora"}}`)})
	h := w.DeviceHistory(d)
	want := []string{
		"2 it says that it is Debian, agent v1", "3 registered, with agent v1", "4 its labels that select changed",
		"5 shop/till was assigned", "6 shop/till is reported Running",
		"7 asked to decommission it by alice", "8 shop/till was withdrawn: the device leaves the fleet", "9 shop/till is gone from the device",
		"10 decommissioned by alice",
	}
	if diff := cmp.Diff(want, entriesText(h)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if h.Foreign != 2 {
		t.Errorf("%d messages are foreign, want 2", h.Foreign)
	}
	e := w.Explain(d, storytest.Till)
	if e.State != explain.StateDecommissioned || e.Summary.Sequence != 10 {
		t.Errorf("%s by #%d, want Decommissioned by #10", e.State, e.Summary.Sequence)
	}
	w.Allowed(d)
	w.Device(d, map[string]string{"site": "lab"})
	w.Assign(d, storytest.Till, 1, 1)
	w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
	if e := w.Explain(d, storytest.Till); e.State != explain.StateRunning {
		t.Errorf("allowed again it is %s: %s", e.State, e.Summary.Text)
	}
}

// What is read for a Deployment's history is enough to know that a device which
// was decommissioned is heard again.
func TestADeploymentsHistoryCountsADeviceThatIsAllowedAgain(t *testing.T) {
	t.Parallel()
	const d = "kasse-1"
	w := storytest.New(t)
	w.Apply(storytest.Till, 1, storytest.Podman("a"))
	w.Device(d, map[string]string{"site": "lab"})
	w.Assign(d, storytest.Till, 1, 1)
	w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
	w.Leaves(d, storytest.Till)
	outcome := func() *timeline.Outcome {
		h, err := timeline.OfDeployment(only(w.Log(), timeline.DeploymentSubjects(storytest.Till)), storytest.Till, timeline.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return h.Entries[0].Outcome
	}
	if o := outcome(); o.Matched != 0 || o.Withdrawn != 1 {
		t.Errorf("once it has left: %+v", o)
	}
	w.Allowed(d)
	w.Device(d, map[string]string{"site": "lab"})
	w.Assign(d, storytest.Till, 1, 1)
	w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
	if o := outcome(); o.Matched != 1 || o.Succeeded != 1 {
		t.Errorf("once it is back: %+v", o)
	}
}

// only is what a server sends of a log to who asks for subjects.
func only(events iter.Seq2[eventlog.Event, error], subjects []string) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		for e, err := range events {
			if slices.ContainsFunc(subjects, func(s string) bool { return matches(s, e.Subject) }) && !yield(e, err) {
				return
			}
		}
	}
}

// matches is the server's rule of * and >.
func matches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		if token == ">" {
			return len(s) > i
		}
		if i >= len(s) || token != eventlog.Wildcard && token != s[i] {
			return false
		}
	}
	return len(f) == len(s)
}
