package explain_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// kasse is the device that is explained.
const kasse = "kasse-1"

// explained is a story, and how till stands on kasse at its end.
type explained struct {
	tell    func(*storytest.Story)
	state   explain.State
	reason  string
	summary string // part of it
	next    string // part of one of the sentences
	chain   []string
}

// on is the story of one device that till is assigned to.
func on(w *storytest.Story) (applied uint64) {
	w.Device("kasse-1", map[string]string{"site": "lab", "zone": "b"})
	w.Online("kasse-1")
	applied = w.Apply(storytest.Till, 1, storytest.Podman("nginx:1"))
	w.Assign("kasse-1", storytest.Till, 1, applied)
	return applied
}

func TestExplainADeploymentThatIsAssigned(t *testing.T) {
	t.Parallel()
	const d = kasse
	tests := map[string]explained{
		"it runs": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhasePending, "Creating", 1)
				w.Step(d, storytest.Till, eventlog.AgentStepSucceeded, eventlog.Step{Step: "pull+create+start", Reason: "Assigned", Revision: 1})
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
			},
			explain.StateRunning, "", "kasse-1 runs revision 1 of shop/till, as it should", "repairs what drifts",
			[]string{
				"#3 the selector site=lab matches its labels: site=lab (reported by the device)", "#4 kasse-1 is online, since then",
				"#5 shop/till was applied by zoë@shop.example as revision 1", "#6 revision 1 of shop/till was assigned to kasse-1 <#5",
				"#8 the agent, service web: pull, create, start (Assigned)", "#9 kasse-1 reported Running of revision 1",
			},
		},
		"it runs, and the device is offline": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.Offline(d)
			},
			explain.StateRunning, "", "as it should", "it is offline: it goes on by itself", nil,
		},
		"it runs, and the device may not connect": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.Say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Flooding"})
			},
			explain.StateRunning, "", "as it should", "not heard until its access is allowed", nil,
		},
		"it runs, and is an orphan": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.End(storytest.Till, eventlog.DeploymentOrphaned, "CRMissing")
			},
			explain.StateRunning, "", "as it should", "fleetctl withdraw deployment/till -n shop", nil,
		},
		"it runs, is an orphan, and somebody asked to withdraw it": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.End(storytest.Till, eventlog.DeploymentOrphaned, "CRMissing")
				w.Say(eventlog.RequestSubject("alice", "shop", "till"), eventlog.RequestMade, eventlog.Request{Verb: "withdraw"})
			},
			explain.StateRunning, "", "as it should", "as alice asked", nil,
		},
		"it runs, and was deleted": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.End(storytest.Till, eventlog.DeploymentDeleted, "CRDeleted")
			},
			explain.StateRunning, "", "as it should", "the operator withdraws it: shop/till was deleted", nil,
		},
		"it runs, and its labels match no more": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.Label(d, map[string]string{"site": "field"}, "kubectl-label")
			},
			explain.StateRunning, "", "as it should", "its label site=field (set by kubectl-label) does not satisfy site=lab", nil,
		},
		"it runs what was before, and the next revision is due": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.Apply(storytest.Till, 2, storytest.Podman("nginx:2"))
			},
			explain.StateRunning, "", "runs revision 1", "the operator assigns revision 2", nil,
		},
		"it runs what was before, and the rollout was paused": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.Apply(storytest.Till, 2, storytest.Podman("nginx:2"))
				w.Rollout(storytest.Till, eventlog.RolloutStarted, 2, 2)
				w.Rollout(storytest.Till, eventlog.RolloutPaused, 2, 2)
			},
			explain.StateRunning, "", "runs revision 1", "the rollout of revision 2 is paused", nil,
		},
		"it fails, again and again": {
			func(w *storytest.Story) {
				on(w)
				for range 3 {
					w.Step(d, storytest.Till, eventlog.AgentStepFailed, eventlog.Step{Step: "pull", Reason: "ImageNotFound", Error: "manifest unknown ☠"})
					w.Report(d, storytest.Till, eventlog.PhaseFailed, "ImageNotFound", 1)
				}
			},
			explain.StateFailed, "ImageNotFound", "cannot run shop/till: the registry has no such image", "after 30 s and then ever longer",
			[]string{
				"#3 the selector site=lab matches its labels: site=lab (reported by the device)", "#4 kasse-1 is online, since then",
				"#5 shop/till was applied by zoë@shop.example as revision 1", "#6 revision 1 of shop/till was assigned to kasse-1 <#5",
				"#7 the agent, service web: pull failed (ImageNotFound): manifest unknown ☠; and 2 times again, the last at #11",
				"#8 kasse-1 reported Failed (ImageNotFound) of revision 1: Größe überschritten: 日本 → ☠; and 2 times again, the last at #12",
			},
		},
		"it fails, and its error counts": {
			func(w *storytest.Story) {
				on(w)
				w.Failing(d, storytest.Till, "CrashLoop", "it exited with 1, 2 times in a row")
				w.Failing(d, storytest.Till, "CrashLoop", "it exited with 1, 13 times in a row")
			},
			explain.StateFailed, "CrashLoop", "its container ends soon after each start", "starts it again by itself",
			[]string{
				"#3 the selector site=lab matches its labels: site=lab (reported by the device)", "#4 kasse-1 is online, since then",
				"#5 shop/till was applied by zoë@shop.example as revision 1", "#6 revision 1 of shop/till was assigned to kasse-1 <#5",
				"#7 kasse-1 reported Failed (CrashLoop) of revision 1: it exited with 1, 13 times in a row; and once again, the last at #8",
			},
		},
		"it runs, and was applied again with other words": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
				w.Apply(storytest.Till, 1, storytest.Podman("nginx:1"), func(s *eventlog.Deployment) { s.ChangeCause = "words" })
			},
			explain.StateRunning, "", "as it should", "nothing is due",
			[]string{
				"#3 the selector site=lab matches its labels: site=lab (reported by the device)", "#4 kasse-1 is online, since then",
				"#5 shop/till was applied by zoë@shop.example as revision 1", "#6 revision 1 of shop/till was assigned to kasse-1 <#5",
				"#7 kasse-1 reported Running of revision 1", "#8 shop/till was applied again by zoë@shop.example; revision 1 stays, “words”",
			},
		},
		"it fails for a reason of a newer agent": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhaseFailed, "MoonPhase", 1)
			},
			explain.StateFailed, "MoonPhase", "cannot run shop/till", "goes on trying by itself", nil,
		},
		"the device is at work": {
			func(w *storytest.Story) {
				on(w)
				w.Report(d, storytest.Till, eventlog.PhasePending, "Starting", 1)
			},
			explain.StatePending, "Starting", "is at work on revision 1 of shop/till: its container does not run yet", "the first check that passes", nil,
		},
		"it was assigned and nothing was heard yet": {
			func(w *storytest.Story) { on(w) },
			explain.StateUnanswered, "", "has not answered to revision 1", "fleetctl ping kasse-1", nil,
		},
		"it was assigned, and it is unknown whether the device is online": {
			func(w *storytest.Story) {
				w.Device(d, map[string]string{"site": "lab"})
				w.Assign(d, storytest.Till, 1, w.Apply(storytest.Till, 1, storytest.Podman("a")))
			},
			explain.StateUnanswered, "", "has not answered", "it is unknown whether the device is online", nil,
		},
		"it was assigned while the device is offline": {
			func(w *storytest.Story) {
				on(w)
				w.Offline(d)
			},
			explain.StateWaitingForDevice, "", "is offline and has not heard of revision 1", "it waits for the device", nil,
		},
		"it was assigned while the device may not connect": {
			func(w *storytest.Story) {
				on(w)
				w.Say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Stolen"})
			},
			explain.StateCutOff, "Stolen", "its access is revoked", "once its access is allowed again", nil,
		},
	}
	answers(t, tests)
}

func answers(t *testing.T, tests map[string]explained) {
	t.Helper()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := storytest.New(t)
			tt.tell(w)
			for _, o := range []timeline.Options{{}, {AsHappened: true}} {
				e := w.Explain(kasse, storytest.Till, o)
				if e.State != tt.state || e.Reason != tt.reason || !strings.Contains(e.Summary.Text, tt.summary) {
					t.Errorf("%+v: %s, %q, %q; want %s, %q, something with %q", o, e.State, e.Reason, e.Summary.Text, tt.state, tt.reason, tt.summary)
				}
				if !slices.ContainsFunc(e.Next, func(s explain.Sentence) bool { return strings.Contains(s.Text, tt.next) }) {
					t.Errorf("what comes next is %q; want something with %q", sentences(e.Next), tt.next)
				}
				if diff := cmp.Diff(tt.chain, sentences(e.Chain)); tt.chain != nil && diff != "" {
					t.Errorf("%+v: the chain (-want +got):\n%s", o, diff)
				}
				proves(t, w, e)
			}
		})
	}
}
