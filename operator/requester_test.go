package operator_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// person is a client of a user, by impersonation, with a field manager's name.
func (w *world) person(user string) versioned.Interface {
	w.t.Helper()
	config := rest.CopyConfig(w.api.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters"}}
	c, err := versioned.NewForConfig(config)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) patch(user, manager, merge string) {
	w.t.Helper()
	_, err := w.person(user).FleetV1alpha1().Deployments("default").Patch(w.t.Context(), "web", types.MergePatchType, []byte(merge),
		metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		w.t.Fatal(err)
	}
}

// asked is what the log says of who changed a Deployment.
type asked struct {
	Type        eventlog.Type
	Actor       string
	RequestedBy eventlog.Requester
	ChangeCause string
	Revision    uint64
}

func (w *world) asked() []asked {
	w.t.Helper()
	var all []asked
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		switch e.Type {
		case eventlog.DeploymentApplied:
			d, err := eventlog.Payload[eventlog.Deployment](e)
			if err != nil {
				w.t.Fatal(err)
			}
			all = append(all, asked{e.Type, e.Actor, d.RequestedBy, d.ChangeCause, d.Revision})
		case eventlog.DeploymentDeleted:
			all = append(all, asked{Type: e.Type, Actor: e.Actor})
		}
	}
	return all
}

// Where the policy is in force the log names the user, and the operator's own
// writes do not take their place; where it is not, the field manager.
func TestTheLogRecordsTheRequester(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	create := func(user, manager string) {
		t.Helper()
		d := deployment("default", "web", "app:1", map[string]string{"site": "lab"})
		if _, err := w.person(user).FleetV1alpha1().Deployments("default").Create(t.Context(), d, metav1.CreateOptions{FieldManager: manager}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func() {
		t.Helper()
		if err := w.fleet.FleetV1alpha1().Deployments("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var want []asked
	logs := func(a asked) {
		t.Helper()
		want = append(want, a)
		eventually(t, "the log has it", func() string { return cmp.Diff(want, w.asked()) })
	}
	byManager := func(name string) eventlog.Requester {
		return eventlog.Requester{Name: name, By: eventlog.RequestedByFieldManager}
	}
	user := func(name string) eventlog.Requester {
		return eventlog.Requester{Name: name, By: eventlog.RequestedByAdmission}
	}

	create("alice", "kubectl-create")
	logs(asked{eventlog.DeploymentApplied, "kubectl-create", byManager("kubectl-create"), "", 1})
	w.patch("bob", "kubectl-edit", `{"spec":{"score":{"data":{"services":[{"name":"main","image":"app:2"}]}}}}`)
	logs(asked{eventlog.DeploymentApplied, "kubectl-edit", byManager("kubectl-edit"), "", 2})
	remove()
	logs(asked{Type: eventlog.DeploymentDeleted, Actor: "unknown"})
	eventually(t, "the CR is gone", func() string {
		if list, err := w.fleet.FleetV1alpha1().Deployments("default").List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) > 0 {
			return "still there"
		}
		return ""
	})

	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := install.Policies(ctx, w.api.Config); err != nil {
		t.Fatal(err)
	}
	if err := install.AwaitPolicies(ctx, w.api.Config); err != nil {
		t.Fatal(err)
	}
	create("oidc:jürgen@x.org", "kubectl-create")
	logs(asked{eventlog.DeploymentApplied, "oidc:jürgen@x.org", user("oidc:jürgen@x.org"), "", 3})
	w.patch("alice", "kubectl-edit", `{"spec":{"score":{"data":{"services":[{"name":"main","image":"app:3"}]}}}}`)
	logs(asked{eventlog.DeploymentApplied, "alice", user("alice"), "", 4})
	w.patch("bob", "kubectl-annotate", `{"metadata":{"annotations":{"kubernetes.io/change-cause":"new menu","`+v1alpha1.AnnotationRequestedBy+`":"mallory"}}}`)
	logs(asked{eventlog.DeploymentApplied, "kubectl-annotate", byManager("kubectl-annotate"), "new menu", 4})
	w.ready("default", "web", "NoDeviceMatches")
	if by := w.deployment("default", "web").Annotations[v1alpha1.AnnotationRequestedBy]; by != "alice" {
		t.Errorf("after the operator's finalizer and status the CR says %q, want alice", by)
	}
}
