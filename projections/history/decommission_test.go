package history_test

import (
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/history"
)

func TestADevicesHistoryTellsHowItLeft(t *testing.T) {
	t.Parallel()
	const d = "kasse-1"
	w := newTale(t)
	w.apply(till, 1, podman("a"))
	w.device(d, map[string]string{"site": "lab"})
	w.assign(d, till, 1, 1)
	w.report(d, till, eventlog.PhaseRunning, "", 1)
	w.leaves(d, till)
	w.report(d, till, eventlog.PhaseRunning, "", 1) // ignored
	w.message(&nats.Msg{Subject: eventlog.InfoSubject(d), Data: []byte(`{"device_id":"kasse-1","inventory":{"os":"Fedora"}}`)})
	h := w.diary(d)
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
	e := w.explain(d, till)
	if e.State != history.StateDecommissioned || e.Summary.Sequence != 10 {
		t.Errorf("%s by #%d, want Decommissioned by #10", e.State, e.Summary.Sequence)
	}
	w.allowed(d)
	w.device(d, map[string]string{"site": "lab"})
	w.assign(d, till, 1, 1)
	w.report(d, till, eventlog.PhaseRunning, "", 1)
	if e := w.explain(d, till); e.State != history.StateRunning {
		t.Errorf("allowed again it is %s: %s", e.State, e.Summary.Text)
	}
}

// What is read for a Deployment's history is enough to know that a device which
// was decommissioned is heard again.
func TestADeploymentsHistoryCountsADeviceThatIsAllowedAgain(t *testing.T) {
	t.Parallel()
	const d = "kasse-1"
	w := newTale(t)
	w.apply(till, 1, podman("a"))
	w.device(d, map[string]string{"site": "lab"})
	w.assign(d, till, 1, 1)
	w.report(d, till, eventlog.PhaseRunning, "", 1)
	w.leaves(d, till)
	outcome := func() *history.Outcome {
		h, err := history.OfDeployment(only(w.log(), history.DeploymentSubjects(till)), till, history.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return h.Entries[0].Outcome
	}
	if o := outcome(); o.Matched != 0 || o.Withdrawn != 1 {
		t.Errorf("once it has left: %+v", o)
	}
	w.allowed(d)
	w.device(d, map[string]string{"site": "lab"})
	w.assign(d, till, 1, 1)
	w.report(d, till, eventlog.PhaseRunning, "", 1)
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
