package operator_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator"
)

// A replica that begins to lead knows nothing of what was placed before it has
// decided: until then it does not say that anything is still to be assigned.
func TestANewLeaderWritesNothingWhereNothingChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	names := []string{"web-0", "web-1", "web-2", "web-3"}
	for _, name := range names {
		w.apply(deployment(ns, name, "app:1", map[string]string{"site": "lab"}))
		w.ready(ns, name, v1alpha1.ReasonAllSucceeded)
	}
	w.completed(ns, names...)
	eventually(t, "the Device's status", func() string { // the first leader's last word of it
		if n := w.cr("pi-01").Status.Deployments; n == nil || int(n.Running) != len(names) {
			return fmt.Sprintf("%+v", n)
		}
		return ""
	})
	first.stop()
	versions := func() map[string]string {
		vs := map[string]string{}
		for _, name := range names {
			vs[name] = w.deployment(ns, name).ResourceVersion
		}
		d, err := w.fleet.FleetV1alpha1().Devices().Get(t.Context(), "pi-01", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		vs["pi-01"] = d.ResourceVersion
		return vs
	}
	before := versions()

	second := w.operate(func(o *operator.Options) { o.Identity = "op-2" })
	eventually(t, "the second leads", func() string {
		if n := second.metric(t, "fleet_operator_leader"); n != 1 {
			return fmt.Sprint(n)
		}
		return ""
	})
	w.apply(deployment(ns, "other", "app:1", map[string]string{"site": "elsewhere"}))
	w.ready(ns, "other", v1alpha1.ReasonNoDeviceMatches) // by then the statuses were looked at
	if after := versions(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the objects' versions were %v, and are %v", before, after)
	}
}

// lines keeps what an operator logs.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// An operator that was upgraded before its CRDs says so, and leads once they are there.
func TestAnOperatorWithoutItsCRDsSaysSoAndLeadsOnceTheyAreThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client, err := dynamic.NewForConfig(w.api.Config)
	if err != nil {
		t.Fatal(err)
	}
	crds := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if err := crds.Delete(t.Context(), "disruptionbudgets.fleet.nationtech.io", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	said := &lines{}
	op := w.operate(func(o *operator.Options) { o.Logger = slog.New(slog.NewTextHandler(said, nil)) })
	eventually(t, "the operator says which CRD is missing", func() string {
		if s := said.String(); !contains(s, "install the CRDs of this version") || !contains(s, "missing=[disruptionbudgets]") {
			return s
		}
		return ""
	})
	if op.metric(t, "fleet_operator_leader") != 0 {
		t.Error("the operator leads without knowing the budgets")
	}
	if err := install.Install(t.Context(), w.api.Config); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the operator leads", func() string {
		if op.metric(t, "fleet_operator_leader") != 1 {
			return said.String()
		}
		return ""
	})
}
