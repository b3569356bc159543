package explain_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

// sentences are #<event> text, and <#cause where there is one.
func sentences(all []explain.Sentence) []string {
	var out []string
	for _, s := range all {
		line := "#" + strings.TrimPrefix(storytest.ID(s.Sequence), "ID-") + " " + s.Text
		if s.Because > 0 {
			line += " <#" + strings.TrimPrefix(storytest.ID(s.Because), "ID-")
		}
		out = append(out, line)
	}
	return out
}

// proves checks that each sentence cites an event of the type that it says.
func proves(t *testing.T, w *storytest.Story, e *explain.Explanation) {
	t.Helper()
	for _, s := range slices.Concat([]explain.Sentence{e.Summary}, e.Chain, e.Next) {
		if s.Sequence == 0 || s.Sequence > uint64(len(w.Events)) {
			t.Errorf("%q cites event %d", s.Text, s.Sequence)
			continue
		}
		if got := w.Events[s.Sequence-1].Type; s.Type != "" && got != s.Type {
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
	w := storytest.New(t)
	on(w)
	w.Report(d, storytest.Till, eventlog.PhaseRunning, "", 1)
	w.Apply(storytest.Key("shop", "far"), 1, storytest.Podman("a"), func(s *eventlog.Deployment) { s.Selector.MatchLabels["site"] = "field" })
	w.Apply(storytest.Key("shop", "new"), 1, storytest.Podman("a"))
	gone := storytest.Key("shop", "gone")
	w.Assign(d, gone, 1, w.Apply(gone, 1, storytest.Podman("a")))
	w.Withdraw(d, gone, w.End(gone, eventlog.DeploymentDeleted, "CRDeleted"))
	never := storytest.Key("shop", "never")
	w.Apply(never, 1, storytest.Podman("a"))
	w.End(never, eventlog.DeploymentDeleted, "CRDeleted")
	w.Report(d, storytest.Key("", "stray"), eventlog.PhaseRunning, "UnknownDeployment", 0)
	e := w.Explain(d, fleet.Key{})
	proves(t, w, e)
	if e.State != explain.StateOnline {
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

	for want, tell := range map[explain.State]func(*storytest.Story){
		explain.StateOffline: func(w *storytest.Story) { w.Offline(d) },
		explain.StateAccessRevoked: func(w *storytest.Story) {
			w.Say(eventlog.AccessSubject(d), eventlog.AccessRevoked, eventlog.Access{Reason: "Stolen"})
		},
		explain.StateDecommissioned: func(w *storytest.Story) {
			w.Say(eventlog.DeviceSubject(d), eventlog.DeviceDecommissioned, eventlog.Removal{})
		},
		explain.StateNotYetHeard: func(*storytest.Story) {},
	} {
		w := storytest.New(t)
		w.Device(d, map[string]string{"site": "lab"})
		tell(w)
		e := w.Explain(d, fleet.Key{})
		proves(t, w, e)
		if e.State != want || len(e.Next) != 1 {
			t.Errorf("state %s, want %s; next %q", e.State, want, sentences(e.Next))
		}
	}
}

func TestWhatCannotBeExplained(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	w.Device("kasse-1", map[string]string{"site": "lab"})
	w.Apply(storytest.Key("a", "till"), 1, storytest.Podman("a"))
	w.Apply(storytest.Key("b", "till"), 1, storytest.Podman("b"))
	w.Apply(storytest.Key("b", "only"), 1, storytest.Podman("b"))
	for name, tt := range map[string]struct {
		q    explain.Question
		want error
	}{
		"a device that nobody knows":           {explain.Question{Device: "kasse-9"}, explain.ErrUnknownDevice},
		"a Deployment that nobody knows":       {explain.Question{Device: "kasse-1", Deployment: storytest.Key("", "tool")}, explain.ErrUnknownDeployment},
		"a Deployment in another namespace":    {explain.Question{Device: "kasse-1", Deployment: storytest.Key("c", "till")}, explain.ErrUnknownDeployment},
		"a name that two namespaces have":      {explain.Question{Device: "kasse-1", Deployment: storytest.Key("", "till")}, explain.ErrAmbiguous},
		"one that a single namespace has":      {explain.Question{Device: "kasse-1", Deployment: storytest.Key("", "only")}, nil},
		"one of two, with its namespace given": {explain.Question{Device: "kasse-1", Deployment: storytest.Key("b", "till")}, nil},
	} {
		e, err := explain.Answer(w.Log(), tt.q, timeline.Options{})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if err == nil && e.Namespace != "b" {
			t.Errorf("%s: namespace %q", name, e.Namespace)
		}
	}
	if _, err := explain.Answer(w.Log(), explain.Question{Device: "kasse-1", Deployment: storytest.Key("", "till")}, timeline.Options{}); !strings.HasSuffix(err.Error(), "till: a, b") {
		t.Errorf("an ambiguous name lists its namespaces: %v", err)
	}
}

func TestAnExplanationWantsNoMoreOfTheLogThanItsSubjects(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	on(w)
	w.Device("kasse-2", map[string]string{"site": "lab"})
	w.Report("kasse-1", storytest.Till, eventlog.PhaseFailed, "PortInUse", 1)
	q := explain.Question{Device: "kasse-1", Deployment: storytest.Till}
	whole, err := explain.Answer(w.Log(), q, timeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	part := func(yield func(eventlog.Event, error) bool) {
		for e, err := range w.Log() {
			if slices.ContainsFunc(q.Subjects(), func(s string) bool { return covers(s, e.Subject) }) && !yield(e, err) {
				return
			}
		}
	}
	few, err := explain.Answer(part, q, timeline.Options{})
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
