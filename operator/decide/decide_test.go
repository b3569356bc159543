package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

var site = map[string]string{"site": "lab"}

func TestDecide(t *testing.T) {
	t.Parallel()
	// Each case sets a world up, then says what the last input takes.
	tests := map[string]struct {
		do   func(*world) []eventlog.Draft
		want []string
	}{
		"a new Deployment is recorded, then assigned to the devices that match": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.label("pi-02", "site", "lab"), w.label("pi-03", "site", "shop"))
				return w.settle(w.put(cr("a", "web", "app:1", site)))
			},
			want: []string{
				"deployment.applied deployment.a.web", "rollout.started deployment.a.web",
				"desired.assigned desired.pi-01.web", "desired.assigned desired.pi-02.web",
			},
		},
		"the same CR again says nothing": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				return w.settle(w.put(cr("a", "web", "app:1", site)))
			},
		},
		"a change of the score is assigned again": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				return w.settle(w.put(cr("a", "web", "app:2", site, generation(2))))
			},
			want: []string{
				"deployment.applied deployment.a.web", "rollout.superseded deployment.a.web", "rollout.started deployment.a.web", "desired.assigned desired.pi-01.web",
			},
		},
		"a change of the selector alone moves devices and leaves those that stay": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.label("pi-02", "site", "lab", "zone", "b"), w.put(cr("a", "web", "app:1", site)))
				return w.settle(w.put(cr("a", "web", "app:1", map[string]string{"zone": "b"}, generation(2))))
			},
			want: []string{"deployment.applied deployment.a.web", "desired.withdrawn desired.pi-01.web"},
		},
		"a device that begins to match is recorded with its labels, then assigned": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.put(cr("a", "web", "app:1", site)))
				return w.settle(w.label("pi-01", "site", "lab"))
			},
			want: []string{"device.relabeled device.pi-01", "desired.assigned desired.pi-01.web"},
		},
		"a device whose turn comes before that of a new Deployment leaves the rollout's beginning to it": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.label("pi-02", "site", "lab"))
				in := w.put(cr("a", "web", "app:1", site))
				applied, err := decide.Decide(w.State, in, now)
				if err != nil {
					w.Fatalf("decide: %v", err)
				}
				w.append(applied...)
				return append(w.settle(decide.OfDevice("pi-01")), w.settle(in)...)
			},
			want: []string{"rollout.started deployment.a.web", "desired.assigned desired.pi-01.web", "desired.assigned desired.pi-02.web"},
		},
		"a device that begins to match after others is assigned, and no rollout begins again": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				return w.settle(w.label("pi-02", "site", "lab"))
			},
			want: []string{"device.relabeled device.pi-02", "desired.assigned desired.pi-02.web"},
		},
		"a device that ceases to match loses the Deployment": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				return w.settle(w.label("pi-01", "site", "other"))
			},
			want: []string{"device.relabeled device.pi-01", "desired.withdrawn desired.pi-01.web"},
		},
		"a deletionTimestamp ends a Deployment": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				return w.settle(w.put(cr("a", "web", "app:1", site, deleting)))
			},
			want: []string{"deployment.deleted deployment.a.web", "desired.withdrawn desired.pi-01.web"},
		},
		"a CR that is not there is an orphan, and its devices are left as they are": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				w.RemoveDeployment(key("a/web"))
				return w.settle(decide.OfDeployment(key("a/web")))
			},
			want: []string{"deployment.orphaned deployment.a.web"},
		},
		"an orphan whose CR returns is adopted and nothing is assigned again": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				w.RemoveDeployment(key("a/web"))
				w.settle(decide.OfDeployment(key("a/web")))
				return w.settle(w.put(cr("a", "web", "app:1", site, uid("another"))))
			},
			want: []string{"deployment.adopted deployment.a.web", "deployment.applied deployment.a.web"},
		},
		"an orphan is withdrawn when a person asks for it": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				w.RemoveDeployment(key("a/web"))
				w.settle(decide.OfDeployment(key("a/web")))
				w.tell(eventlog.RequestSubject("ada", "a", "web"), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestWithdraw})
				return w.settle(decide.OfProgress(key("a/web")))
			},
			want: []string{"deployment.deleted deployment.a.web", "desired.withdrawn desired.pi-01.web"},
		},
		"a person's request has no power over a Deployment whose CR is there": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				w.tell(eventlog.RequestSubject("ada", "a", "web"), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestWithdraw})
				return w.settle(decide.OfProgress(key("a/web")), decide.OfDeployment(key("a/web")))
			},
		},
		"a Device CR that is not there withdraws nothing": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				w.RemoveDevice("pi-01")
				return w.settle(decide.OfDevice("pi-01"), decide.OfDeployment(key("a/web")))
			},
		},
		"a second Deployment of the name gets only the devices that the first does not hold": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.label("pi-02", "site", "shop"), w.put(cr("a", "web", "app:1", site)))
				return w.settle(w.put(cr("b", "web", "app:9", nil, expression("site", metav1.LabelSelectorOpExists))))
			},
			want: []string{"deployment.applied deployment.b.web", "rollout.started deployment.b.web", "desired.assigned desired.pi-02.web"},
		},
		"the second takes over what the first lets go": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)), w.put(cr("b", "web", "app:9", site)))
				w.settle(w.put(cr("a", "web", "app:1", site, deleting)))
				return w.settle(decide.OfDevice("pi-01"))
			},
			want: []string{"desired.assigned desired.pi-01.web"},
		},
		"a score of unknown type is recorded and not assigned; what runs stays": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				return w.settle(w.put(cr("a", "web", "app:1", site, generation(2), scoreType("WasmV3"))))
			},
			want: []string{"deployment.applied deployment.a.web"},
		},
		"an empty selector assigns nothing": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"))
				return w.settle(w.put(cr("a", "web", "app:1", nil)))
			},
			want: []string{"deployment.applied deployment.a.web"},
		},
		"a rollout completes when every device succeeded": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				w.report("pi-01", "web", eventlog.PhaseRunning)
				return w.settle(decide.OfProgress(key("a/web")))
			},
			want: []string{"rollout.completed deployment.a.web"},
		},
		"a rollout does not complete while a device fails": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
				w.report("pi-01", "web", eventlog.PhaseFailed)
				return w.settle(decide.OfProgress(key("a/web")))
			},
		},
		"a device registers with its first info": {
			do: func(w *world) []eventlog.Draft {
				w.tell(eventlog.InfoSubject("pi-01"), eventlog.InfoReported, eventlog.DeviceInfo{DeviceID: "pi-01"})
				return w.settle(decide.OfDevice("pi-01"))
			},
			want: []string{"device.registered device.pi-01"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := told(tt.do(newWorld(t)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRevisionFollowsTheContentThroughDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"))
	revision := func() uint64 { return w.View().Deployments[key("a/web")].Spec.Revision }
	steps := []struct {
		what string
		cr   *v1alpha1.Deployment
		want uint64
	}{
		{"first apply", cr("a", "web", "app:1", site), 1},
		{"another selector", cr("a", "web", "app:1", map[string]string{"site": "x"}, generation(2)), 1},
		{"another image", cr("a", "web", "app:2", site, generation(3)), 2},
		{"deleted", cr("a", "web", "app:2", site, generation(4), deleting), 2},
		{"made again with other content", cr("a", "web", "app:3", site, uid("new")), 3},
	}
	for _, s := range steps {
		w.settle(w.put(s.cr))
		if got := revision(); got != s.want {
			t.Errorf("%s: revision %d, want %d", s.what, got, s.want)
		}
	}
}

func TestConflictNamesTheHolderAndCountsTheDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"), w.label("pi-02", "site", "lab"), w.put(cr("a", "web", "app:1", site)), w.put(cr("b", "web", "app:9", site)))
	if holder, n := w.Conflict(key("b/web")); n != 2 || holder != key("a/web") {
		t.Errorf("conflict of b/web = %s on %d devices, want a/web on 2", holder, n)
	}
	if _, n := w.Conflict(key("a/web")); n != 0 {
		t.Errorf("the holder is said to conflict on %d devices", n)
	}
}

func TestEndedOnlyOnceAllIsWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
	in := w.put(cr("a", "web", "app:1", site, deleting))
	for round := 0; round < 3; round++ {
		if w.Ended(key("a/web")) {
			t.Fatalf("ended before round %d, with a device still assigned, or before it was decided that no more is due", round)
		}
		due, err := decide.Decide(w.State, in, now)
		if err != nil {
			t.Fatal(err)
		}
		w.MarkDecided(key("a/web"), len(due) == 0)
		w.append(due...)
	}
	if !w.Ended(key("a/web")) {
		t.Error("not ended, though all is withdrawn")
	}
}

// What was decided just before the deletion was seen may be on its way into the
// log: the CR stays until the deletion itself was decided about. Were it to go, the
// log would have the Deployment all the same, as an orphan.
func TestADeploymentThatTheLogNeverHeardOfIsNotEndedBeforeItsDeletionWasDecidedAbout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	due, err := decide.Decide(w.State, w.put(cr("a", "web", "app:1", site)), now)
	if err != nil {
		t.Fatal(err)
	}
	w.MarkDecided(key("a/web"), len(due) == 0)
	in := w.put(cr("a", "web", "app:1", site, deleting)) // while that is on its way
	if w.Ended(key("a/web")) {
		t.Error("ended, while deployment.applied is on its way")
	}
	w.append(due...)
	if diff := cmp.Diff([]string{"deployment.deleted deployment.a.web"}, told(w.settle(in))); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
	if !w.Ended(key("a/web")) {
		t.Error("not ended, though the log has it")
	}
}

// The operator's clock may be wrong: it has no say in what the log's clock measures.
func TestAWithdrawnDeploymentThatADeviceGoesOnReportingIsWithdrawnAgain(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"clocks agree": 0, "the log's clock is an hour ahead": 3600, "the log's clock is an hour behind": -3600} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withdrawnAgain(t, ahead)
		})
	}
}

func withdrawnAgain(t *testing.T, ahead time.Duration) {
	t.Helper()
	w := newWorld(t)
	w.later = ahead
	w.settle(w.label("pi-01", "site", "lab"), w.put(cr("a", "web", "app:1", site)))
	w.settle(w.put(cr("a", "web", "app:1", site, deleting)))
	report := func(after time.Duration) []string {
		e := eventlog.Event{
			Sequence: w.View().Sequence + 1, Recorded: w.at().Add(after), Time: now.Add(after), Type: eventlog.StateReported, Version: 1,
			Address: eventlog.Address{Family: eventlog.FamilyState, Device: "pi-01", Deployment: "web"},
			Data:    []byte(`{"device_id":"pi-01","deployment":"web","phase":"Running"}`),
		}
		w.seq = e.Sequence
		fleet.Apply(w.View(), e, nil)
		due, err := decide.Decide(w.State, decide.OfDevice("pi-01"), now.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return told(due)
	}
	if got := report(time.Second); got != nil {
		t.Errorf("a report that was under way: %v", got)
	}
	if diff := cmp.Diff([]string{"desired.withdrawn desired.pi-01.web"}, report(time.Minute)); diff != "" {
		t.Errorf("a report a minute later (-want +got):\n%s", diff)
	}
}

func TestWhatTheLogNeverKnewIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"))
	w.tell(eventlog.StateSubject("pi-01", "old"), eventlog.StateReported,
		eventlog.DeploymentState{DeviceID: "pi-01", Deployment: "old", Phase: eventlog.PhaseRunning})
	if got := w.settle(decide.OfDevice("pi-01")); len(got) > 0 {
		t.Errorf("events %v, want none", told(got))
	}
}

func TestSpecProblemsAreSentences(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cr           *v1alpha1.Deployment
		reason, says string
	}{
		"unknown score type": {cr("a", "web", "app:1", site, scoreType("WasmV3")), v1alpha1.ReasonUnsupportedScore, `"WasmV3" is not known`},
		"no score type":      {cr("a", "web", "app:1", site, scoreType("")), v1alpha1.ReasonUnsupportedScore, `"type" is missing`},
		"no device's score":  {cr("a", "web", "app 1", site), v1alpha1.ReasonInvalidScore, `service main, image "app 1": not an image reference`},
		"empty selector":     {cr("a", "web", "app:1", nil), v1alpha1.ReasonInvalidSelector, "to mean every device"},
		"a name with a dot":  {cr("a", "we.b", "app:1", site), v1alpha1.ReasonUnsupportedScore, "RFC 1123 label"},
		"a score too large":  {cr("a", "web", strings.Repeat("x", 300<<10), site), v1alpha1.ReasonTooLarge, "at most"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := decide.SpecOf(tt.cr).Problem
			if p == nil || p.Reason != tt.reason || !strings.Contains(p.Message, tt.says) {
				t.Errorf("problem = %s, want reason %s and a sentence with %q", mustJSON(p), tt.reason, tt.says)
			}
		})
	}
}

// Such a score was stored before the API refused it: no device gets it, and what
// they run stays.
func TestAScoreThatEachDeviceWouldRefuseGoesToNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle(w.label("pi-01", "site", "lab"))
	w.settle(w.put(cr("a", "web", "app:1", site)))
	got := w.settle(w.put(cr("a", "web", "app:2", site, func(d *v1alpha1.Deployment) {
		d.Generation++
		d.Spec.Score.Data.Services[0].CapAdd = []string{"NOPE"}
	})))
	for _, e := range told(got) {
		if strings.Contains(e, "desired.") {
			t.Errorf("a device is told: %s", e)
		}
	}
}

// The schema refuses such a name. Were one to come all the same, the fold would
// not understand what is said of it, and it would be due for ever.
func TestNothingIsAppendedAboutANameThatTheLogCannotHold(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"we.b", "", "*", "a b", strings.Repeat("x", 64)} {
		w := newWorld(t)
		w.settle(w.label("pi-01", "site", "lab"))
		if got := w.settle(w.put(cr("a", name, "app:1", site))); len(got) > 0 {
			t.Errorf("of %q: %v", name, told(got))
		}
	}
}
