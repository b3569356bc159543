package history_test

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
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/history"
)

// entriesText are entries in a line each: number, text, who.
func entriesText(h *history.History) []string {
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
	w := newTale(t)
	w.device("kasse-1", map[string]string{"site": "lab"})
	w.device("kasse-2", map[string]string{"site": "lab"})
	one := w.apply(till, 1, podman("nginx:1.26"), func(d *eventlog.Deployment) { d.ChangeCause = "first light" })
	w.rollout(till, eventlog.RolloutStarted, 1, 2)
	w.assign("kasse-1", till, 1, one)
	w.report("kasse-1", till, eventlog.PhaseRunning, "", 1)
	w.assign("kasse-2", till, 1, one)
	w.report("kasse-2", till, eventlog.PhasePending, "Creating", 1)
	all := w.report("kasse-2", till, eventlog.PhaseRunning, "", 1)
	w.rollout(till, eventlog.RolloutCompleted, 1, 2)
	two := w.apply(till, 2, podman("nginx:1.27", `"env":{"MODE":"b"}`), func(d *eventlog.Deployment) {
		d.RequestedBy = eventlog.Requester{Name: "kubectl", By: eventlog.RequestedByFieldManager}
		d.Selector = eventlog.Selector{MatchExpressions: []eventlog.SelectorRequirement{{Key: "site", Operator: "In", Values: []string{"lab", "field"}}}}
	})
	w.rollout(till, eventlog.RolloutStarted, 2, 2)
	w.assign("kasse-1", till, 2, two)
	w.assign("kasse-2", till, 2, two)
	failed := w.report("kasse-1", till, eventlog.PhaseFailed, "ImagePullFailed", 2)
	w.offline("kasse-2")
	gone := w.end(till, eventlog.DeploymentDeleted, "CRDeleted")
	w.withdraw("kasse-1", till, gone)
	w.cleared("kasse-1", till)
	w.withdraw("kasse-2", till, gone)

	h := w.history(till)
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
	}, fieldsText(first.Changes)); diff != "" {
		t.Errorf("the first revision brings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"selector: site=lab → site in (field,lab)", "services[web].env.MODE:  → b", "services[web].image: nginx:1.26 → nginx:1.27",
	}, fieldsText(second.Changes)); diff != "" {
		t.Errorf("the second changes (-want +got):\n%s", diff)
	}
	after := float64(all - one)
	lasted := float64(two - one)
	if diff := cmp.Diff(&history.Outcome{Matched: 2, Succeeded: 2, AllSucceeded: &after, Lasted: &lasted, Next: two}, first.Outcome); diff != "" {
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
		tell func(*tale)
		want []string
	}{
		"events from before who was known say unknown": {
			func(w *tale) {
				w.apply(till, 1, podman("a"), func(d *eventlog.Deployment) { d.RequestedBy = eventlog.Requester{} })
			},
			[]string{"1 revision 1 by unknown"},
		},
		"an orphan is withdrawn by who asked for it": {
			func(w *tale) {
				w.apply(till, 1, podman("a"))
				w.end(till, eventlog.DeploymentOrphaned, "CRMissing")
				asked := w.say(eventlog.RequestSubject("alice", "shop", "till"), eventlog.RequestMade, eventlog.Request{Verb: "withdraw", Reason: "moved"})
				w.end(till, eventlog.DeploymentDeleted, "Requested", by("alice"), causedBy(asked))
			},
			[]string{
				"1 revision 1 by zoë@shop.example",
				"2 orphaned: its custom resource is not there, and nobody was seen deleting it; devices are left as they are",
				"3 asked to withdraw it by alice", "4 deleted, as was asked by alice",
			},
		},
		"an orphan is adopted": {
			func(w *tale) {
				w.apply(till, 1, podman("a"))
				w.end(till, eventlog.DeploymentOrphaned, "CRMissing")
				w.end(till, eventlog.DeploymentAdopted, "CRReturned")
			},
			[]string{
				"1 revision 1 by zoë@shop.example",
				"2 orphaned: its custom resource is not there, and nobody was seen deleting it; devices are left as they are",
				"3 adopted: its custom resource is there again",
			},
		},
		"what leaves the score as it is has no revision of its own": {
			func(w *tale) {
				w.apply(till, 1, podman("a"))
				w.apply(till, 1, podman("a"), func(d *eventlog.Deployment) { d.Selector.MatchLabels["zone"] = "b" })
			},
			[]string{"1 revision 1 by zoë@shop.example", "2 revision 1 applied again by zoë@shop.example"},
		},
		"a namesake in another namespace is another Deployment": {
			func(w *tale) {
				other := key("lab", "till")
				w.apply(other, 1, podman("a"))
				w.apply(till, 1, podman("b"))
				w.assign("d", other, 1, 1)
				w.say(eventlog.RequestSubject("alice", "lab", "till"), eventlog.RequestMade, eventlog.Request{Verb: "withdraw"})
			},
			[]string{"2 revision 1 by zoë@shop.example"},
		},
		"an empty log tells nothing": {func(*tale) {}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTale(t)
			tt.tell(w)
			if diff := cmp.Diff(tt.want, entriesText(w.history(till))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestADeviceThatLosesItIsNoneOfTheMatched(t *testing.T) {
	t.Parallel()
	w := newTale(t)
	applied := w.apply(till, 1, podman("a"))
	w.assign("d-1", till, 1, applied)
	w.assign("d-2", till, 1, applied)
	moved := w.label("d-2", map[string]string{"site": "other"}, "kubectl-label")
	w.withdraw("d-2", till, moved)
	w.withdraw("d-2", till, moved) // said again, because it still reported
	w.report("d-1", till, eventlog.PhaseRunning, "", 1)
	o := w.history(till).Entries[0].Outcome
	if o.Matched != 1 || o.Succeeded != 1 || o.Withdrawn != 1 || o.AllSucceeded == nil {
		t.Errorf("outcome %+v", o)
	}
}

func TestForeignMessagesAreCountedAndHideNothing(t *testing.T) {
	t.Parallel()
	w := newTale(t)
	w.apply(till, 1, podman("a"))
	w.assign("d", till, 1, 1)
	w.message(&nats.Msg{Subject: eventlog.StateSubject("d", "till"), Data: []byte("not JSON")})
	w.report("d", till, eventlog.PhaseRunning, "", 1)
	if h := w.history(till); h.Foreign != 1 || h.Entries[0].Outcome.Succeeded != 1 {
		t.Errorf("foreign %d, outcome %+v", h.Foreign, h.Entries[0].Outcome)
	}
	if h := w.diary("d"); h.Foreign != 1 || len(h.Entries) != 2 {
		t.Errorf("of the device: foreign %d, %d entries", h.Foreign, len(h.Entries))
	}
}

func TestABrokenConnectionIsSaid(t *testing.T) {
	t.Parallel()
	w := newTale(t)
	w.apply(till, 1, podman("a"))
	if _, err := history.OfDeployment(w.broken(), till, history.Options{}); !errors.Is(err, errBroken) {
		t.Errorf("of a Deployment: %v", err)
	}
	if _, err := history.OfDevice(w.broken(), "d", history.Options{AsHappened: true}); !errors.Is(err, errBroken) {
		t.Errorf("of a device: %v", err)
	}
	if _, err := history.Explain(w.broken(), history.Question{Device: "d"}, history.Options{}); !errors.Is(err, errBroken) {
		t.Errorf("explanation: %v", err)
	}
}

func TestALateReportIsToldWhereItHappened(t *testing.T) {
	t.Parallel()
	w := newTale(t)
	one := w.apply(till, 1, podman("a"))
	w.assign("d", till, 1, one)
	happened := w.now()
	two := w.apply(till, 2, podman("b"))
	w.score[till] = podman("a")
	late := w.state("d", till, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Revision: 1, LastEventAt: happened.Add(-500 * time.Millisecond)})
	h := w.history(till)
	if h.Entries[0].Outcome.Succeeded != 0 {
		t.Error("by the log's clock nobody knew it before revision 2")
	}
	h = w.history(till, history.Options{AsHappened: true})
	if o := h.Entries[0].Outcome; o.Succeeded != 1 || o.AllSucceeded == nil || *o.AllSucceeded != 1.5 {
		t.Errorf("as it happened: %+v", o)
	}
	h = w.diary("d", history.Options{AsHappened: true, Until: happened.Add(-time.Second)})
	if slices.ContainsFunc(h.Entries, func(e history.Entry) bool { return e.Sequence == late || e.Sequence == two }) {
		t.Errorf("what happened later is told: %v", entriesText(h))
	}
	h = w.diary("d", history.Options{AsHappened: true, Until: happened})
	if !slices.ContainsFunc(h.Entries, func(e history.Entry) bool { return e.Sequence == late }) {
		t.Errorf("a late report is left out: %v", entriesText(h))
	}
}

// By either axis, a history's last outcome counts what the fold counts.
func TestTheLastOutcomeCountsWhatTheFoldCounts(t *testing.T) {
	t.Parallel()
	w := newTale(t)
	a := w.apply(till, 1, podman("a"))
	for i := range 9 {
		d := fmt.Sprintf("d-%d", i)
		w.assign(d, till, 1, a)
		switch i % 3 {
		case 0:
			w.report(d, till, eventlog.PhaseRunning, "", 1)
		case 1:
			w.report(d, till, eventlog.PhaseFailed, "CrashLoop", 1)
		}
	}
	w.offline("d-1")
	v := fleet.New()
	for i, e := range w.events {
		fleet.Apply(v, e, w.errs[i])
	}
	c := v.Deployments[till].Counts
	for _, o := range []history.Options{{}, {AsHappened: true}} {
		got := w.history(till, o).Entries[0].Outcome
		if got.Matched != c.Matched || got.Succeeded != c.Succeeded || got.Failed != c.Failed || got.Pending != c.Pending || got.Offline != c.Offline {
			t.Errorf("%+v: %+v, the fold counts %+v", o, got, c)
		}
	}
}

func TestWhoIsMarkedByHowItIsKnown(t *testing.T) {
	t.Parallel()
	for want, who := range map[string]history.Who{
		"zoë":                     {Name: "zoë", By: eventlog.RequestedByAdmission},
		"kubectl (field manager)": {Name: "kubectl", By: eventlog.RequestedByFieldManager},
		"unknown":                 {By: eventlog.RequestedByUnknown},
		"alice":                   {Name: "alice", By: history.ByConnection},
	} {
		if got := who.String(); got != want {
			t.Errorf("%+v reads %q, want %q", who, got, want)
		}
	}
	if s := history.SpanText(3723); s != "1h02m" || !strings.HasSuffix(history.SpanText(90_000), "h") {
		t.Error(s)
	}
}
