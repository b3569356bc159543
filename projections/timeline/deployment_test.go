package timeline_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// entriesText are entries in a line each: number, text, who.
func entriesText(h *timeline.History) []string {
	var out []string
	for _, e := range h.Entries {
		line := fmt.Sprintf("%d %s", e.Sequence, e.Text)
		if e.Who != nil {
			line += " by " + e.Who.String()
		}
		if e.Repeats > 0 {
			line += fmt.Sprintf(" +%d to %d", e.Repeats, e.Last)
		}
		out = append(out, line)
	}
	return out
}

func TestADeploymentsHistoryFromApplyToDelete(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	w.Device("kasse-1", map[string]string{"site": "lab"})
	w.Device("kasse-2", map[string]string{"site": "lab"})
	one := w.Apply(storytest.Till, 1, storytest.Podman("nginx:1.26"), func(d *eventlog.Deployment) { d.ChangeCause = "first light" })
	w.Rollout(storytest.Till, eventlog.RolloutStarted, 1, 2)
	w.Assign("kasse-1", storytest.Till, 1, one)
	w.Report("kasse-1", storytest.Till, eventlog.PhaseRunning, "", 1)
	w.Assign("kasse-2", storytest.Till, 1, one)
	w.Report("kasse-2", storytest.Till, eventlog.PhasePending, "Creating", 1)
	all := w.Report("kasse-2", storytest.Till, eventlog.PhaseRunning, "", 1)
	w.Rollout(storytest.Till, eventlog.RolloutCompleted, 1, 2)
	two := w.Apply(storytest.Till, 2, storytest.Podman("nginx:1.27", `"env":{"MODE":"b"}`), func(d *eventlog.Deployment) {
		d.RequestedBy = eventlog.Requester{Name: "kubectl", By: eventlog.RequestedByFieldManager}
		d.Selector = eventlog.Selector{MatchExpressions: []eventlog.SelectorRequirement{{Key: "site", Operator: "In", Values: []string{"lab", "field"}}}}
	})
	w.Rollout(storytest.Till, eventlog.RolloutStarted, 2, 2)
	w.Assign("kasse-1", storytest.Till, 2, two)
	w.Assign("kasse-2", storytest.Till, 2, two)
	failed := w.Report("kasse-1", storytest.Till, eventlog.PhaseFailed, "ImagePullFailed", 2)
	w.Offline("kasse-2")
	gone := w.End(storytest.Till, eventlog.DeploymentDeleted, "CRDeleted")
	w.Withdraw("kasse-1", storytest.Till, gone)
	w.Cleared("kasse-1", storytest.Till)
	w.Withdraw("kasse-2", storytest.Till, gone)

	h := w.DeploymentHistory(storytest.Till)
	want := []string{
		fmt.Sprintf("%d revision 1 by zoë@shop.example", one),
		fmt.Sprintf("%d revision 2 by kubectl (field manager)", two),
		fmt.Sprintf("%d deleted by unknown", gone),
	}
	if diff := cmp.Diff(want, entriesText(h)); diff != "" {
		t.Fatalf("entries (-want +got):\n%s", diff)
	}
	if h.Lifecycle != fleet.Deleted {
		t.Errorf("lifecycle %q", h.Lifecycle)
	}
	first, second, end := h.Entries[0], h.Entries[1], h.Entries[2]
	if diff := cmp.Diff([]string{
		"selector:  → site=lab", "rollout.strategy:  → Immediate", "score.type:  → PodmanV0", "services[web].image:  → nginx:1.26",
	}, storytest.FieldsText(first.Changes)); diff != "" {
		t.Errorf("the first revision brings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"selector: site=lab → site in (field,lab)", "services[web].env.MODE:  → b", "services[web].image: nginx:1.26 → nginx:1.27",
	}, storytest.FieldsText(second.Changes)); diff != "" {
		t.Errorf("the second changes (-want +got):\n%s", diff)
	}
	after := float64(all - one)
	lasted := float64(two - one)
	if diff := cmp.Diff(&timeline.Outcome{Matched: 2, Succeeded: 2, AllSucceeded: &after, Lasted: &lasted, Next: two}, first.Outcome); diff != "" {
		t.Errorf("outcome of the first (-want +got):\n%s", diff)
	}
	o := second.Outcome
	if o.Matched != 2 || o.Failed != 1 || o.Pending != 1 || o.Offline != 1 || o.AllSucceeded != nil || o.Next != gone {
		t.Errorf("outcome of the second: %+v", o)
	}
	if f := o.FirstFailure; f == nil || f.Sequence != failed || f.Device != "kasse-1" || f.Reason != "ImagePullFailed" || f.After != float64(failed-two) {
		t.Errorf("first failure: %+v", f)
	}
	if o := end.Outcome; o.Withdrawn != 2 || o.Gone != 1 || o.Matched != 0 {
		t.Errorf("outcome of the end: %+v", o)
	}
	if r := first.Rollout; len(r) != 2 || r[0].Type != eventlog.RolloutStarted || r[1].After != float64(all+1-one) {
		t.Errorf("rollout of the first: %+v", r)
	}
}

func TestHistoryOfADeployment(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tell func(*storytest.Story)
		want []string
	}{
		"events from before who was known say unknown": {
			func(w *storytest.Story) {
				w.Apply(storytest.Till, 1, storytest.Podman("a"), func(d *eventlog.Deployment) { d.RequestedBy = eventlog.Requester{} })
			},
			[]string{"1 revision 1 by unknown"},
		},
		"an orphan is withdrawn by who asked for it": {
			func(w *storytest.Story) {
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
				w.End(storytest.Till, eventlog.DeploymentOrphaned, "CRMissing")
				asked := w.Say(eventlog.RequestSubject("alice", "shop", "till"), eventlog.RequestMade, eventlog.Request{Verb: "withdraw", Reason: "moved"})
				w.End(storytest.Till, eventlog.DeploymentDeleted, "Requested", storytest.By("alice"), storytest.CausedBy(asked))
			},
			[]string{
				"1 revision 1 by zoë@shop.example",
				"2 orphaned: its custom resource is missing, and the operator saw no deletion; devices are left as they are",
				"3 asked to withdraw it by alice", "4 deleted, as was asked by alice",
			},
		},
		"an orphan is adopted": {
			func(w *storytest.Story) {
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
				w.End(storytest.Till, eventlog.DeploymentOrphaned, "CRMissing")
				w.End(storytest.Till, eventlog.DeploymentAdopted, "CRReturned")
			},
			[]string{
				"1 revision 1 by zoë@shop.example",
				"2 orphaned: its custom resource is missing, and the operator saw no deletion; devices are left as they are",
				"3 adopted: its custom resource is there again",
			},
		},
		"what leaves the score as it is has no revision of its own": {
			func(w *storytest.Story) {
				w.Apply(storytest.Till, 1, storytest.Podman("a"))
				w.Apply(storytest.Till, 1, storytest.Podman("a"), func(d *eventlog.Deployment) { d.Selector.MatchLabels["zone"] = "b" })
			},
			[]string{"1 revision 1 by zoë@shop.example", "2 revision 1 applied again by zoë@shop.example"},
		},
		"a namesake in another namespace is another Deployment": {
			func(w *storytest.Story) {
				other := storytest.Key("lab", "till")
				w.Apply(other, 1, storytest.Podman("a"))
				w.Apply(storytest.Till, 1, storytest.Podman("b"))
				w.Assign("d", other, 1, 1)
				w.Say(eventlog.RequestSubject("alice", "lab", "till"), eventlog.RequestMade, eventlog.Request{Verb: "withdraw"})
			},
			[]string{"2 revision 1 by zoë@shop.example"},
		},
		"an empty log tells nothing": {func(*storytest.Story) {}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := storytest.New(t)
			tt.tell(w)
			if diff := cmp.Diff(tt.want, entriesText(w.DeploymentHistory(storytest.Till))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestADeviceThatLosesItIsNoneOfTheMatched(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	applied := w.Apply(storytest.Till, 1, storytest.Podman("a"))
	w.Assign("d-1", storytest.Till, 1, applied)
	w.Assign("d-2", storytest.Till, 1, applied)
	moved := w.Label("d-2", map[string]string{"site": "other"}, "kubectl-label")
	w.Withdraw("d-2", storytest.Till, moved)
	w.Withdraw("d-2", storytest.Till, moved) // said again, because it still reported
	w.Report("d-1", storytest.Till, eventlog.PhaseRunning, "", 1)
	o := w.DeploymentHistory(storytest.Till).Entries[0].Outcome
	if o.Matched != 1 || o.Succeeded != 1 || o.Withdrawn != 1 || o.AllSucceeded == nil {
		t.Errorf("outcome %+v", o)
	}
}

func TestForeignMessagesAreCountedAndHideNothing(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	w.Apply(storytest.Till, 1, storytest.Podman("a"))
	w.Assign("d", storytest.Till, 1, 1)
	w.Message(&nats.Msg{Subject: eventlog.StateSubject("d", "till"), Data: []byte("not JSON")})
	w.Report("d", storytest.Till, eventlog.PhaseRunning, "", 1)
	if h := w.DeploymentHistory(storytest.Till); h.Foreign != 1 || h.Entries[0].Outcome.Succeeded != 1 {
		t.Errorf("foreign %d, outcome %+v", h.Foreign, h.Entries[0].Outcome)
	}
	if h := w.DeviceHistory("d"); h.Foreign != 1 || len(h.Entries) != 2 {
		t.Errorf("of the device: foreign %d, %d entries", h.Foreign, len(h.Entries))
	}
}

func TestABrokenConnectionIsReported(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	w.Apply(storytest.Till, 1, storytest.Podman("a"))
	if _, err := timeline.OfDeployment(w.Broken(), storytest.Till, timeline.Options{}); !errors.Is(err, storytest.ErrBroken) {
		t.Errorf("of a Deployment: %v", err)
	}
	if _, err := timeline.OfDevice(w.Broken(), "d", timeline.Options{AsHappened: true}); !errors.Is(err, storytest.ErrBroken) {
		t.Errorf("of a device: %v", err)
	}
	if _, err := explain.Answer(w.Broken(), explain.Question{Device: "d"}, timeline.Options{}); !errors.Is(err, storytest.ErrBroken) {
		t.Errorf("explanation: %v", err)
	}
}

func TestALateReportIsToldWhereItHappened(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	one := w.Apply(storytest.Till, 1, storytest.Podman("a"))
	w.Assign("d", storytest.Till, 1, one)
	happened := w.Now()
	two := w.Apply(storytest.Till, 2, storytest.Podman("b"))
	w.Score[storytest.Till] = storytest.Podman("a")
	late := w.State("d", storytest.Till, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Revision: 1, LastEventAt: happened.Add(-500 * time.Millisecond)})
	h := w.DeploymentHistory(storytest.Till)
	if h.Entries[0].Outcome.Succeeded != 0 {
		t.Error("by the log's clock nobody knew it before revision 2")
	}
	h = w.DeploymentHistory(storytest.Till, timeline.Options{AsHappened: true})
	if o := h.Entries[0].Outcome; o.Succeeded != 1 || o.AllSucceeded == nil || *o.AllSucceeded != 1.5 {
		t.Errorf("as it happened: %+v", o)
	}
	h = w.DeviceHistory("d", timeline.Options{AsHappened: true, Until: happened.Add(-time.Second)})
	if slices.ContainsFunc(h.Entries, func(e timeline.Entry) bool { return e.Sequence == late || e.Sequence == two }) {
		t.Errorf("what happened later is told: %v", entriesText(h))
	}
	h = w.DeviceHistory("d", timeline.Options{AsHappened: true, Until: happened})
	if !slices.ContainsFunc(h.Entries, func(e timeline.Entry) bool { return e.Sequence == late }) {
		t.Errorf("a late report is left out: %v", entriesText(h))
	}
}

// By either axis, a history's last outcome counts what the fold counts.
func TestTheLastOutcomeCountsWhatTheFoldCounts(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	a := w.Apply(storytest.Till, 1, storytest.Podman("a"))
	for i := range 9 {
		d := fmt.Sprintf("d-%d", i)
		w.Assign(d, storytest.Till, 1, a)
		switch i % 3 {
		case 0:
			w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
		case 1:
			w.Report(d, storytest.Till, eventlog.PhaseFailed, "CrashLoop", 1)
		}
	}
	w.Offline("d-1")
	v := fleet.New()
	for i, e := range w.Events {
		fleet.Apply(v, e, w.Errs[i])
	}
	c := v.Deployments[storytest.Till].Counts
	for _, o := range []timeline.Options{{}, {AsHappened: true}} {
		got := w.DeploymentHistory(storytest.Till, o).Entries[0].Outcome
		if got.Matched != c.Matched || got.Succeeded != c.Succeeded || got.Failed != c.Failed || got.Pending != c.Pending || got.Offline != c.Offline {
			t.Errorf("%+v: %+v, the fold counts %+v", o, got, c)
		}
	}
}

func TestWhoIsMarkedByHowItIsKnown(t *testing.T) {
	t.Parallel()
	for want, who := range map[string]timeline.Who{
		"zoë":                     {Name: "zoë", By: eventlog.RequestedByAdmission},
		"kubectl (field manager)": {Name: "kubectl", By: eventlog.RequestedByFieldManager},
		"unknown":                 {By: eventlog.RequestedByUnknown},
		"alice":                   {Name: "alice", By: timeline.ByConnection},
	} {
		if got := who.String(); got != want {
			t.Errorf("%+v reads %q, want %q", who, got, want)
		}
	}
	if s := timeline.SpanText(3723); s != "1h02m" || !strings.HasSuffix(timeline.SpanText(90_000), "h") {
		t.Error(s)
	}
}
