package history_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/history"
)

// on is the story of one device that till is assigned to.
func on(w *tale) (applied uint64) {
	w.device("kasse-1", map[string]string{"site": "lab", "zone": "b"})
	w.online("kasse-1")
	applied = w.apply(till, 1, podman("nginx:1"))
	w.assign("kasse-1", till, 1, applied)
	return applied
}

func TestExplainADeploymentOnADevice(t *testing.T) {
	t.Parallel()
	const d = "kasse-1"
	rival := key("lab", "till")
	zone := func(op string, values ...string) func(*eventlog.Deployment) {
		return func(s *eventlog.Deployment) {
			s.Selector.MatchExpressions = []eventlog.SelectorRequirement{{Key: "zone", Operator: op, Values: values}}
		}
	}
	tests := map[string]struct {
		tell    func(*tale)
		state   history.State
		reason  string
		summary string // part of it
		next    string // part of one of the sentences
		chain   []string
	}{
		"it runs": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhasePending, "Creating", 1)
				w.step(d, till, eventlog.AgentStepSucceeded, eventlog.Step{Step: "pull+create+start", Reason: "Assigned", Revision: 1})
				w.report(d, till, eventlog.PhaseRunning, "", 1)
			},
			history.StateRunning, "", "kasse-1 runs revision 1 of shop/till, as it should", "repairs what drifts",
			[]string{
				"#3 the selector site=lab matches its labels: site=lab (reported by the device)", "#4 kasse-1 is online, since then",
				"#5 shop/till was applied by zoë@shop.example as revision 1", "#6 revision 1 of shop/till was assigned to kasse-1 <#5",
				"#8 the agent, service web: pull, create, start (Assigned)", "#9 kasse-1 reported Running of revision 1",
			},
		},
		"it runs, and the device is offline": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.offline(d)
			},
			history.StateRunning, "", "as it should", "it is offline: it goes on by itself", nil,
		},
		"it runs, and the device may not connect": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Flooding"})
			},
			history.StateRunning, "", "as it should", "not heard until its access is allowed", nil,
		},
		"it runs, and is an orphan": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.end(till, eventlog.DeploymentOrphaned, "CRMissing")
			},
			history.StateRunning, "", "as it should", "fleetctl withdraw deployment/till -n shop", nil,
		},
		"it runs, is an orphan, and somebody asked to withdraw it": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.end(till, eventlog.DeploymentOrphaned, "CRMissing")
				w.say(eventlog.RequestSubject("alice", "shop", "till"), eventlog.RequestMade, eventlog.Request{Verb: "withdraw"})
			},
			history.StateRunning, "", "as it should", "as alice asked", nil,
		},
		"it runs, and was deleted": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.end(till, eventlog.DeploymentDeleted, "CRDeleted")
			},
			history.StateRunning, "", "as it should", "the operator withdraws it: shop/till was deleted", nil,
		},
		"it runs, and its labels match no more": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.label(d, map[string]string{"site": "field"}, "kubectl-label")
			},
			history.StateRunning, "", "as it should", "its label site=field (set by kubectl-label) does not satisfy site=lab", nil,
		},
		"it runs what was before, and the next revision is due": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.apply(till, 2, podman("nginx:2"))
			},
			history.StateRunning, "", "runs revision 1", "the operator assigns revision 2", nil,
		},
		"it runs what was before, and the rollout was paused": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.apply(till, 2, podman("nginx:2"))
				w.rollout(till, eventlog.RolloutStarted, 2, 2)
				w.rollout(till, eventlog.RolloutPaused, 2, 2)
			},
			history.StateRunning, "", "runs revision 1", "revision 2 is not assigned here: its rollout does not go on", nil,
		},
		"it fails, again and again": {
			func(w *tale) {
				on(w)
				for range 3 {
					w.step(d, till, eventlog.AgentStepFailed, eventlog.Step{Step: "pull", Reason: "ImageNotFound", Error: "manifest unknown ☠"})
					w.report(d, till, eventlog.PhaseFailed, "ImageNotFound", 1)
				}
			},
			history.StateFailed, "ImageNotFound", "cannot run shop/till: the registry has no such image", "after 30 s and then ever longer",
			[]string{
				"#3 the selector site=lab matches its labels: site=lab (reported by the device)", "#4 kasse-1 is online, since then",
				"#5 shop/till was applied by zoë@shop.example as revision 1", "#6 revision 1 of shop/till was assigned to kasse-1 <#5",
				"#7 the agent, service web: pull failed (ImageNotFound): manifest unknown ☠; and 2 times again, the last at #11",
				"#8 kasse-1 reported Failed (ImageNotFound) of revision 1: Größe überschritten: 日本 → ☠; and 2 times again, the last at #12",
			},
		},
		"it fails, and its error counts": {
			func(w *tale) {
				on(w)
				w.failing(d, till, "CrashLoop", "it exited with 1, 2 times in a row")
				w.failing(d, till, "CrashLoop", "it exited with 1, 13 times in a row")
			},
			history.StateFailed, "CrashLoop", "its container ends soon after each start", "starts it again by itself",
			[]string{
				"#3 the selector site=lab matches its labels: site=lab (reported by the device)", "#4 kasse-1 is online, since then",
				"#5 shop/till was applied by zoë@shop.example as revision 1", "#6 revision 1 of shop/till was assigned to kasse-1 <#5",
				"#7 kasse-1 reported Failed (CrashLoop) of revision 1: it exited with 1, 13 times in a row; and once again, the last at #8",
			},
		},
		"it runs, and was applied again with other words": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.apply(till, 1, podman("nginx:1"), func(s *eventlog.Deployment) { s.ChangeCause = "words" })
			},
			history.StateRunning, "", "as it should", "nothing is due",
			[]string{
				"#3 the selector site=lab matches its labels: site=lab (reported by the device)", "#4 kasse-1 is online, since then",
				"#5 shop/till was applied by zoë@shop.example as revision 1", "#6 revision 1 of shop/till was assigned to kasse-1 <#5",
				"#7 kasse-1 reported Running of revision 1", "#8 shop/till was applied again by zoë@shop.example; revision 1 stays, “words”",
			},
		},
		"it fails for a reason of a newer agent": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseFailed, "MoonPhase", 1)
			},
			history.StateFailed, "MoonPhase", "cannot run shop/till", "goes on trying by itself", nil,
		},
		"the device is at work": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhasePending, "Starting", 1)
			},
			history.StatePending, "Starting", "is at work on revision 1 of shop/till: its container does not run yet", "the first check that passes", nil,
		},
		"it was assigned and nothing was heard yet": {
			func(w *tale) { on(w) },
			history.StateUnanswered, "", "has not answered to revision 1", "fleetctl ping kasse-1", nil,
		},
		"it was assigned, and whether the device is online nobody knows": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.assign(d, till, 1, w.apply(till, 1, podman("a")))
			},
			history.StateUnanswered, "", "has not answered", "nobody knows whether it is online", nil,
		},
		"it was assigned while the device is offline": {
			func(w *tale) {
				on(w)
				w.offline(d)
			},
			history.StateWaitingForDevice, "", "is offline and has not heard of revision 1", "it waits for the device", nil,
		},
		"it was assigned while the device may not connect": {
			func(w *tale) {
				on(w)
				w.say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Stolen"})
			},
			history.StateCutOff, "Stolen", "its access is revoked", "once its access is allowed again", nil,
		},
		"it does not match: another value": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab", "zone": "b"})
				w.apply(till, 1, podman("a"), zone("In", "a"))
			},
			history.StateNotMatched, "", "its label zone=b (reported by the device) does not satisfy zone=a", "nothing, until the labels of kasse-1 or the selector site=lab,zone=a change", nil,
		},
		"it does not match: no such label": {
			func(w *tale) {
				w.device(d, map[string]string{"zone": "b"})
				w.apply(till, 1, podman("a"))
			},
			history.StateNotMatched, "", "it has no label site, and the selector wants site=lab", "nothing, until", nil,
		},
		"it does not match: a value that is excluded": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab", "zone": "b"})
				w.apply(till, 1, podman("a"), zone("NotIn", "b", "c"))
			},
			history.StateNotMatched, "", "zone=b (reported by the device) does not satisfy zone notin (b,c)", "nothing, until", nil,
		},
		"it does not match: a label that must not be": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab", "zone": "b"})
				w.apply(till, 1, podman("a"), zone("DoesNotExist"))
			},
			history.StateNotMatched, "", "zone=b (reported by the device) does not satisfy !zone", "nothing, until", nil,
		},
		"it does not match: a label that must be": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.apply(till, 1, podman("a"), zone("Exists"))
			},
			history.StateNotMatched, "", "it has no label zone, and the selector wants zone", "nothing, until", nil,
		},
		"it does not match: the selector is empty": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.apply(till, 1, podman("a"), func(s *eventlog.Deployment) { s.Selector = eventlog.Selector{} })
			},
			history.StateNotMatched, "", "its selector is empty", "nothing, until", nil,
		},
		"it does not match any more, and is off the device": {
			func(w *tale) {
				on(w)
				moved := w.label(d, map[string]string{"site": "field"}, "kubectl-label")
				w.withdraw(d, till, moved)
				w.step(d, till, eventlog.AgentStepSucceeded, eventlog.Step{Step: "stop+remove", Reason: "Withdrawn"})
				w.cleared(d, till)
			},
			history.StateNotMatched, "", "site=field (set by kubectl-label) does not satisfy site=lab", "nothing, until",
			[]string{
				"#4 kasse-1 is online, since then", "#5 shop/till was applied by zoë@shop.example as revision 1",
				"#7 shop/till does not match kasse-1: its label site=field (set by kubectl-label) does not satisfy site=lab",
				"#8 shop/till was withdrawn from kasse-1 <#7", "#9 the agent, service web: stop, remove (Withdrawn)",
				"#10 kasse-1 said that nothing is left of shop/till",
			},
		},
		"the operator has no labels of the device yet": {
			func(w *tale) {
				w.report(d, till, eventlog.PhaseRunning, "UnknownDeployment", 0)
				w.say(eventlog.StateSubject(d, "till"), eventlog.StateCleared, nil)
				w.say(eventlog.DeviceSubject(d), eventlog.DeviceRegistered, eventlog.Registration{})
				w.apply(till, 1, podman("a"))
			},
			history.StateNotMatched, "", "no labels of kasse-1 are in the log yet", "is an operator running?", nil,
		},
		"it is being withdrawn": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.withdraw(d, till, w.label(d, nil, "x"))
				w.report(d, till, eventlog.PhasePending, "Removing", 1)
			},
			history.StateWithdrawing, "Removing", "was withdrawn from kasse-1, which has not removed it yet", "withdrawn again", nil,
		},
		"it is withdrawn, and the device is offline": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.offline(d)
				w.withdraw(d, till, w.end(till, eventlog.DeploymentDeleted, "CRDeleted"))
			},
			history.StateWithdrawing, "", "has not removed it yet", "once it is back online", nil,
		},
		"it is withdrawn, and the device may not connect": {
			func(w *tale) {
				on(w)
				w.report(d, till, eventlog.PhaseRunning, "", 1)
				w.withdraw(d, till, w.end(till, eventlog.DeploymentDeleted, "CRDeleted"))
				w.say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Stolen"})
			},
			history.StateWithdrawing, "", "has not removed it yet", "it cannot hear of it", nil,
		},
		"it was deleted": {
			func(w *tale) {
				on(w)
				w.withdraw(d, till, w.end(till, eventlog.DeploymentDeleted, "CRDeleted"))
			},
			history.StateEnded, "", "shop/till was deleted", "applied again, it goes on at the next revision", nil,
		},
		"another of its name holds the place": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.assign(d, rival, 1, w.apply(rival, 1, podman("a")))
				w.apply(till, 1, podman("b"))
			},
			history.StateNameConflict, "", "shop/till matches kasse-1, but lab/till holds the name there", "rename one of them", nil,
		},
		"another of its name holds the place, and it would not match": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.assign(d, rival, 1, w.apply(rival, 1, podman("a")))
				w.apply(till, 1, podman("b"), zone("Exists"))
			},
			history.StateNotMatched, "", "it has no label zone", "nothing, until", nil,
		},
		"it matches, and is not assigned yet": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.apply(till, 1, podman("a"))
			},
			history.StateNotPlaced, "", "the operator has not assigned it yet", "kubectl describe fleetdep till -n shop", nil,
		},
		"it matches, and its rollout was aborted before": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.apply(till, 1, podman("a"))
				w.rollout(till, eventlog.RolloutStarted, 1, 2)
				w.rollout(till, eventlog.RolloutAborted, 1, 2)
			},
			history.StateHeldBack, "", "its rollout stopped before", "until the rollout goes on", nil,
		},
		"it matches, and is an orphan": {
			func(w *tale) {
				w.apply(till, 1, podman("a"))
				w.end(till, eventlog.DeploymentOrphaned, "CRMissing")
				w.device(d, map[string]string{"site": "lab"})
			},
			history.StateOrphaned, "", "is orphaned, so it is assigned to no further device", "it is adopted", nil,
		},
		"the log never assigned what the device reports": {
			func(w *tale) {
				w.device(d, map[string]string{"site": "lab"})
				w.report(d, till, eventlog.PhaseRunning, "UnknownDeployment", 0)
			},
			history.StateUnknown, "UnknownDeployment", "which this log never assigned to it", "is left alone", nil,
		},
		"the device was decommissioned": {
			func(w *tale) {
				on(w)
				w.say(eventlog.DeviceSubject(d), eventlog.DeviceDecommissioned, eventlog.Removal{Reason: "Replaced"})
			},
			history.StateDecommissioned, "", "kasse-1 was decommissioned", "nothing is assigned to it", nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTale(t)
			tt.tell(w)
			for _, o := range []history.Options{{}, {AsHappened: true}} {
				e := w.explain(d, till, o)
				if e.State != tt.state || e.Reason != tt.reason || !strings.Contains(e.Summary.Text, tt.summary) {
					t.Errorf("%+v: %s, %q, %q; want %s, %q, something with %q", o, e.State, e.Reason, e.Summary.Text, tt.state, tt.reason, tt.summary)
				}
				if !slices.ContainsFunc(e.Next, func(s history.Sentence) bool { return strings.Contains(s.Text, tt.next) }) {
					t.Errorf("what comes next is %q; want something with %q", sentences(e.Next), tt.next)
				}
				if diff := cmp.Diff(tt.chain, sentences(e.Chain)); tt.chain != nil && diff != "" {
					t.Errorf("%+v: the chain (-want +got):\n%s", o, diff)
				}
				w.proves(t, e)
			}
		})
	}
}

// sentences are #<event> text, and <#cause where there is one.
func sentences(all []history.Sentence) []string {
	var out []string
	for _, s := range all {
		line := "#" + strings.TrimPrefix(id(s.Sequence), "ID-") + " " + s.Text
		if s.Because > 0 {
			line += " <#" + strings.TrimPrefix(id(s.Because), "ID-")
		}
		out = append(out, line)
	}
	return out
}

// proves checks that each sentence cites an event of the type that it says.
func (w *tale) proves(t *testing.T, e *history.Explanation) {
	t.Helper()
	for _, s := range slices.Concat([]history.Sentence{e.Summary}, e.Chain, e.Next) {
		if s.Sequence == 0 || s.Sequence > uint64(len(w.events)) {
			t.Errorf("%q cites event %d", s.Text, s.Sequence)
			continue
		}
		if got := w.events[s.Sequence-1].Type; s.Type != "" && got != s.Type {
			t.Errorf("%q cites event %d as %s; it is %s", s.Text, s.Sequence, s.Type, got)
		}
	}
	if _, err := json.Marshal(e); err != nil {
		t.Error(err)
	}
}

func TestExplainADevice(t *testing.T) {
	t.Parallel()
	const d = "kasse-1"
	w := newTale(t)
	on(w)
	w.report(d, till, eventlog.PhaseRunning, "", 1)
	w.apply(key("shop", "far"), 1, podman("a"), func(s *eventlog.Deployment) { s.Selector.MatchLabels["site"] = "field" })
	w.apply(key("shop", "new"), 1, podman("a"))
	gone := key("shop", "gone")
	w.assign(d, gone, 1, w.apply(gone, 1, podman("a")))
	w.withdraw(d, gone, w.end(gone, eventlog.DeploymentDeleted, "CRDeleted"))
	never := key("shop", "never")
	w.apply(never, 1, podman("a"))
	w.end(never, eventlog.DeploymentDeleted, "CRDeleted")
	w.report(d, key("", "stray"), eventlog.PhaseRunning, "UnknownDeployment", 0)
	e := w.explain(d, fleet.Key{})
	w.proves(t, e)
	if e.State != history.StateOnline {
		t.Errorf("state %s", e.State)
	}
	var got []string
	for _, s := range e.Deployments {
		got = append(got, s.Namespace+"/"+s.Deployment+" "+string(s.State))
	}
	if diff := cmp.Diff([]string{"/stray Unknown", "shop/gone Ended", "shop/new NotPlaced", "shop/till Running"}, got); diff != "" {
		t.Errorf("Deployments (-want +got):\n%s", diff)
	}
	if len(e.Elsewhere) != 1 || e.Elsewhere[0].Deployment != "far" {
		t.Errorf("elsewhere: %+v", e.Elsewhere)
	}

	for want, tell := range map[history.State]func(*tale){
		history.StateOffline: func(w *tale) { w.offline(d) },
		history.StateAccessRevoked: func(w *tale) {
			w.say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Stolen"})
		},
		history.StateDecommissioned: func(w *tale) { w.say(eventlog.DeviceSubject(d), eventlog.DeviceDecommissioned, eventlog.Removal{}) },
		history.StateNotYetHeard:    func(*tale) {},
	} {
		w := newTale(t)
		w.device(d, map[string]string{"site": "lab"})
		tell(w)
		e := w.explain(d, fleet.Key{})
		w.proves(t, e)
		if e.State != want || len(e.Next) != 1 {
			t.Errorf("state %s, want %s; next %q", e.State, want, sentences(e.Next))
		}
	}
}

func TestWhatCannotBeExplained(t *testing.T) {
	t.Parallel()
	w := newTale(t)
	w.device("kasse-1", map[string]string{"site": "lab"})
	w.apply(key("a", "till"), 1, podman("a"))
	w.apply(key("b", "till"), 1, podman("b"))
	w.apply(key("b", "only"), 1, podman("b"))
	for name, tt := range map[string]struct {
		q    history.Question
		want error
	}{
		"a device that nobody knows":           {history.Question{Device: "kasse-9"}, history.ErrUnknownDevice},
		"a Deployment that nobody knows":       {history.Question{Device: "kasse-1", Deployment: key("", "tool")}, history.ErrUnknownDeployment},
		"a Deployment in another namespace":    {history.Question{Device: "kasse-1", Deployment: key("c", "till")}, history.ErrUnknownDeployment},
		"a name that two namespaces have":      {history.Question{Device: "kasse-1", Deployment: key("", "till")}, history.ErrAmbiguous},
		"one that a single namespace has":      {history.Question{Device: "kasse-1", Deployment: key("", "only")}, nil},
		"one of two, with its namespace given": {history.Question{Device: "kasse-1", Deployment: key("b", "till")}, nil},
	} {
		e, err := history.Explain(w.log(), tt.q, history.Options{})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if err == nil && e.Namespace != "b" {
			t.Errorf("%s: namespace %q", name, e.Namespace)
		}
	}
	if _, err := history.Explain(w.log(), history.Question{Device: "kasse-1", Deployment: key("", "till")}, history.Options{}); !strings.HasSuffix(err.Error(), "till: a, b") {
		t.Errorf("an ambiguous name lists its namespaces: %v", err)
	}
}

func TestAnExplanationWantsNoMoreOfTheLogThanItsSubjects(t *testing.T) {
	t.Parallel()
	w := newTale(t)
	on(w)
	w.device("kasse-2", map[string]string{"site": "lab"})
	w.report("kasse-1", till, eventlog.PhaseFailed, "PortInUse", 1)
	q := history.Question{Device: "kasse-1", Deployment: till}
	whole, err := history.Explain(w.log(), q, history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	part := func(yield func(eventlog.Event, error) bool) {
		for e, err := range w.log() {
			if slices.ContainsFunc(q.Subjects(), func(s string) bool { return covers(s, e.Subject) }) && !yield(e, err) {
				return
			}
		}
	}
	few, err := history.Explain(part, q, history.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole, few); diff != "" {
		t.Errorf("from the whole log, and from its part (-whole +part):\n%s", diff)
	}
	for i, a := range q.Subjects() {
		for j, b := range q.Subjects() {
			if i != j && covers(a, b) {
				t.Errorf("filters overlap: %s, %s", a, b)
			}
		}
	}
}

// covers says whether a filter of NATS covers a subject.
func covers(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range f {
		if token == ">" {
			return i < len(s)
		}
		if i >= len(s) || token != "*" && token != s[i] {
			return false
		}
	}
	return len(f) == len(s)
}
