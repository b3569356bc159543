package decide_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
)

func annotated(k, v string) crOption {
	return func(d *v1alpha1.Deployment) {
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[k] = v
	}
}

func stamped(user string) crOption { return annotated(v1alpha1.AnnotationRequestedBy, user) }

func because(why string) crOption { return annotated(decide.AnnotationChangeCause, why) }

// managed adds an entry of managedFields, some seconds past now; a manager with a
// slash is one of the subresource after it.
func managed(manager string, second int, fields string) crOption {
	manager, subresource, _ := strings.Cut(manager, "/")
	return func(d *v1alpha1.Deployment) {
		at := metav1.NewTime(now.Add(time.Duration(second) * time.Second))
		f := &metav1.FieldsV1{}
		f.SetRawBytes([]byte(fields))
		d.ManagedFields = append(d.ManagedFields, metav1.ManagedFieldsEntry{Manager: manager, Subresource: subresource, Time: &at, FieldsV1: f})
	}
}

const (
	ownsSpec  = `{"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:score":{"f:type":{}}}}`
	ownsLabel = `{"f:metadata":{"f:labels":{"f:a":{}}}}`
	ownsCause = `{"f:metadata":{"f:annotations":{".":{},"f:kubernetes.io/change-cause":{}}}}`
)

func TestWhoAskedForASpec(t *testing.T) {
	t.Parallel()
	manager := func(name string) eventlog.Requester {
		return eventlog.Requester{Name: name, By: eventlog.RequestedByFieldManager}
	}
	unknown := eventlog.Requester{By: eventlog.RequestedByUnknown}
	tests := map[string]struct {
		cr                   []crOption
		requested, explained eventlog.Requester
	}{
		"the user that the policy stamped":          {cr: []crOption{stamped("alice"), managed("kubectl", 1, ownsSpec)}, requested: eventlog.Requester{Name: "alice", By: eventlog.RequestedByAdmission}, explained: unknown},
		"without a stamp, the manager of the spec":  {cr: []crOption{managed("kubectl", 1, ownsSpec), managed("kubectl-label", 2, ownsLabel)}, requested: manager("kubectl"), explained: unknown},
		"of two managers, the later":                {cr: []crOption{managed("argocd", 3, ownsSpec), managed("kubectl", 1, ownsSpec)}, requested: manager("argocd"), explained: unknown},
		"of one second, the one that comes after":   {cr: []crOption{managed("argocd", 1, ownsSpec), managed("kubectl", 1, ownsSpec)}, requested: manager("kubectl"), explained: unknown},
		"never one of a subresource":                {cr: []crOption{managed("kubectl", 1, ownsSpec), managed("fleet-operator/status", 2, ownsSpec)}, requested: manager("kubectl"), explained: unknown},
		"nobody owns the spec":                      {cr: []crOption{managed("kubectl-label", 2, ownsLabel)}, requested: unknown, explained: unknown},
		"fields that cannot be read":                {cr: []crOption{managed("kubectl", 2, `{"f:spec":`)}, requested: unknown, explained: unknown},
		"nothing at all":                            {requested: unknown, explained: unknown},
		"who said why is another than who asked":    {cr: []crOption{stamped("alice"), managed("kubectl", 1, ownsSpec), managed("kubectl-annotate", 2, ownsCause)}, requested: eventlog.Requester{Name: "alice", By: eventlog.RequestedByAdmission}, explained: manager("kubectl-annotate")},
		"a stamp of any characters":                 {cr: []crOption{stamped("oidc:jürgen o'hara")}, requested: eventlog.Requester{Name: "oidc:jürgen o'hara", By: eventlog.RequestedByAdmission}, explained: unknown},
		"a stamp too long is cut, but no character": {cr: []crOption{stamped("x" + strings.Repeat("日", 1000))}, requested: eventlog.Requester{Name: "x" + strings.Repeat("日", 170), By: eventlog.RequestedByAdmission}, explained: unknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := cr("a", "web", "app:1", site, tt.cr...)
			lean := whole.DeepCopy()
			lean.ManagedFields = decide.TrimManagedFields(lean.ManagedFields)
			again := decide.TrimManagedFields(lean.ManagedFields)
			if diff := cmp.Diff(mustJSON(lean.ManagedFields), mustJSON(again)); diff != "" {
				t.Errorf("made lean again (-once +twice):\n%s", diff)
			}
			for what, d := range map[string]*v1alpha1.Deployment{"whole": whole, "lean": lean} {
				spec := decide.SpecOf(d)
				if diff := cmp.Diff([]eventlog.Requester{tt.requested, tt.explained}, []eventlog.Requester{spec.Requested, spec.Explained}); diff != "" {
					t.Errorf("%s: requested, explained (-want +got):\n%s", what, diff)
				}
				if !utf8.ValidString(spec.Requested.Name) {
					t.Errorf("%s: a character was cut: %q", what, spec.Requested.Name)
				}
			}
		})
	}
}

func TestWhoIsRecorded(t *testing.T) {
	t.Parallel()
	type recorded struct {
		Type     eventlog.Type
		Actor    string
		Revision uint64
		Cause    string
		By       eventlog.Requester
	}
	alice := eventlog.Requester{Name: "alice", By: eventlog.RequestedByAdmission}
	v1 := []crOption{stamped("alice"), managed("kubectl", 1, ownsSpec)}
	with := func(more ...crOption) []crOption { return append(append([]crOption{}, v1...), more...) }
	tests := map[string]struct {
		do   func(*world) []eventlog.Draft
		want []recorded
	}{
		"who created it": {
			do: func(w *world) []eventlog.Draft { return w.settle(w.put(cr("a", "web", "app:1", site, v1...))) },
			want: []recorded{
				{eventlog.DeploymentApplied, "alice", 1, "", alice},
			},
		},
		"the field manager, where no policy is in force": {
			do: func(w *world) []eventlog.Draft {
				return w.settle(w.put(cr("a", "web", "app:1", site, managed("kubectl", 1, ownsSpec))))
			},
			want: []recorded{{eventlog.DeploymentApplied, "kubectl", 1, "", eventlog.Requester{Name: "kubectl", By: eventlog.RequestedByFieldManager}}},
		},
		"unknown, where nothing tells": {
			do:   func(w *world) []eventlog.Draft { return w.settle(w.put(cr("a", "web", "app:1", site))) },
			want: []recorded{{eventlog.DeploymentApplied, "unknown", 1, "", eventlog.Requester{By: eventlog.RequestedByUnknown}}},
		},
		"a change-cause alone is recorded of the same revision, by whom it was said": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.put(cr("a", "web", "app:1", site, v1...)))
				return w.settle(w.put(cr("a", "web", "app:1", site, with(because("new menu"), managed("kubectl-annotate", 2, ownsCause))...)))
			},
			want: []recorded{{eventlog.DeploymentApplied, "kubectl-annotate", 1, "new menu", eventlog.Requester{Name: "kubectl-annotate", By: eventlog.RequestedByFieldManager}}},
		},
		"a change-cause said with the change is one event": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.put(cr("a", "web", "app:1", site, v1...)))
				return w.settle(w.put(cr("a", "web", "app:2", site, with(generation(2), because("new menu"), managed("kubectl-annotate", 2, ownsCause))...)))
			},
			want: []recorded{{eventlog.DeploymentApplied, "alice", 2, "new menu", alice}},
		},
		"another stamp alone is nothing to record": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.put(cr("a", "web", "app:1", site, v1...)))
				return w.settle(w.put(cr("a", "web", "app:1", site, stamped("bob"))))
			},
		},
		"nobody sees who deleted it": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.put(cr("a", "web", "app:1", site, v1...)))
				return w.settle(w.put(cr("a", "web", "app:1", site, with(deleting)...)))
			},
			want: []recorded{{Type: eventlog.DeploymentDeleted, Actor: "unknown"}},
		},
		"a person who asks for a withdrawal is known": {
			do: func(w *world) []eventlog.Draft {
				w.settle(w.put(cr("a", "web", "app:1", site, v1...)))
				w.RemoveDeployment(key("a/web"))
				w.settle(decide.OfDeployment(key("a/web")))
				w.tell(eventlog.RequestSubject("ada", "a", "web"), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestWithdraw})
				return w.settle(decide.OfProgress(key("a/web")))
			},
			want: []recorded{{Type: eventlog.DeploymentDeleted, Actor: "ada"}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var got []recorded
			for _, d := range tt.do(w) {
				if d.Type == eventlog.RolloutStarted || d.Type == eventlog.RolloutSuperseded {
					continue
				}
				m := d.Message("test", "ID")
				e, err := eventlog.Decode(m.Subject, m.Header, m.Data, 1, now)
				if err != nil {
					t.Fatal(err)
				}
				p, err := eventlog.Payload[eventlog.Deployment](e)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, recorded{e.Type, e.Actor, p.Revision, p.ChangeCause, p.RequestedBy})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What a shell writes with && keeps the bytes of its hash on the way through the
// log, so that a device's report of it counts.
func TestAScoreWithAmpersandsIsReportedByItsHash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shell := func(d *v1alpha1.Deployment) {
		d.Spec.Score.Data.Services[0].Command = []string{"sh", "-c", "true && echo <a> > /dev/null"}
	}
	w.settle(w.label("pi-01", "site", "lab"))
	due := w.settle(w.put(cr("a", "web", "app:1", site, shell)))
	assigned := due[len(due)-1]
	if assigned.Type != eventlog.DesiredAssigned {
		t.Fatalf("the last event is %s", assigned.Type)
	}
	if got, want := eventlog.Hash(assigned.Data), w.View().Deployments[key("a/web")].Spec.ScoreHash; got != want {
		t.Errorf("hash of what is assigned is %s, want %s", got, want)
	}
}

// Version 1 of deployment.applied wrote such a score as other bytes than those of
// its hash, and devices got those. Read as version 2, it is assigned again, once.
func TestAScoreThatVersion1WroteWithEscapesIsAssignedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shell := func(d *v1alpha1.Deployment) { d.Spec.Score.Data.Services[0].Command = []string{"sh", "-c", "a && b"} }
	in := w.put(cr("a", "web", "app:1", site, shell))
	spec, _ := w.Deployment(key("a/web"))
	data, err := json.Marshal(eventlog.Deployment{UID: spec.UID, Generation: 1, Revision: 1, Score: spec.Score, ScoreHash: spec.Hash, Rollout: spec.Rollout})
	if err != nil {
		t.Fatal(err)
	}
	var was eventlog.Deployment
	if err := json.Unmarshal(data, &was); err != nil {
		t.Fatal(err)
	}
	w.settle(w.label("pi-01", "site", "other"))
	w.append(
		eventlog.Draft{Subject: eventlog.DeploymentSubject("a", "web"), Type: eventlog.DeploymentApplied, Version: 1, Time: now, Data: data},
		eventlog.Draft{Subject: eventlog.DesiredSubject("pi-01", "web"), Type: eventlog.DesiredAssigned, Time: now, Namespace: "a", Revision: 1, Data: was.Score},
	)
	due := w.settle(w.label("pi-01", "site", "lab"), in)
	got := told(due)
	want := []string{"device.relabeled device.pi-01", "desired.assigned desired.pi-01.web"}
	if diff := cmp.Diff(want, slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "rollout.") })); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if eventlog.Hash(due[len(due)-1].Data) != spec.Hash {
		t.Errorf("assigned %s, want %s", due[len(due)-1].Data, spec.Score)
	}
	if again := w.settle(in); len(again) != 0 {
		t.Errorf("and again %v", told(again))
	}
}
