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
func proves(t *testing.T, w *tale, e *history.Explanation) {
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
	proves(t, w, e)
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
		proves(t, w, e)
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
