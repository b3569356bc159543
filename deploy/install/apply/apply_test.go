package apply_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/install/apply"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

func applier(t *testing.T) (*apply.Applier, string) {
	t.Helper()
	cluster := localapitest.Shared(t)
	a, err := apply.New(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	return a, cluster.Namespace(t)
}

func object(t *testing.T, namespace, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetNamespace(namespace)
	return o
}

func configMap(t *testing.T, namespace, value string) *unstructured.Unstructured {
	t.Helper()
	return object(t, namespace, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {key: "+value+"}\n")
}

func mustApply(t *testing.T, a *apply.Applier, o *unstructured.Unstructured, want apply.Change) {
	t.Helper()
	if got, err := a.Apply(t.Context(), o); err != nil || got != want {
		t.Fatalf("apply %s: %s, %v; want %s", apply.Name(o), got, err, want)
	}
}

func TestApplyingTheSameAgainChangesNothing(t *testing.T) {
	t.Parallel()
	a, namespace := applier(t)
	mustApply(t, a, configMap(t, namespace, "one"), apply.Created)
	mustApply(t, a, configMap(t, namespace, "one"), apply.Unchanged)
	mustApply(t, a, configMap(t, namespace, "two"), apply.Changed)
}

func TestADryRunStoresNothing(t *testing.T) {
	t.Parallel()
	a, namespace := applier(t)
	dry := *a
	dry.DryRun = true
	mustApply(t, &dry, configMap(t, namespace, "one"), apply.Created)
	mustApply(t, &dry, configMap(t, "namespace-that-is-made-later", "one"), apply.Created)
	if there, err := a.Get(t.Context(), configMap(t, namespace, "")); err != nil || there != nil {
		t.Errorf("the dry run left %v, %v", there, err)
	}
	mustApply(t, a, configMap(t, namespace, "one"), apply.Created)
	mustApply(t, &dry, configMap(t, namespace, "one"), apply.Unchanged)
	mustApply(t, &dry, configMap(t, namespace, "two"), apply.Changed)
	mustApply(t, a, configMap(t, namespace, "one"), apply.Unchanged)
	refused := object(t, namespace, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {key: one}\nunknown: field\n")
	if _, err := dry.Apply(t.Context(), refused); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("a field that the kind does not have: %v", err)
	}
}

func TestAPreviewIsWhatWouldBecomeOfAnObject(t *testing.T) {
	t.Parallel()
	a, namespace := applier(t)
	mustApply(t, a, configMap(t, namespace, "one"), apply.Created)
	would, err := a.Preview(t.Context(), configMap(t, namespace, "two"))
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(would.Object, "data", "key"); got != "two" {
		t.Errorf("the preview has %q", got)
	}
	mustApply(t, a, configMap(t, namespace, "one"), apply.Unchanged)
}

func TestAnObjectThatIsMadeOnceIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	a, namespace := applier(t)
	first, change, err := a.Create(t.Context(), configMap(t, namespace, "one"))
	if err != nil || change != apply.Created {
		t.Fatalf("%s, %v", change, err)
	}
	second, change, err := a.Create(t.Context(), configMap(t, namespace, "two"))
	if err != nil || change != apply.Unchanged {
		t.Fatalf("%s, %v", change, err)
	}
	if second.GetUID() != first.GetUID() {
		t.Error("the object was made a second time")
	}
	if got, _, _ := unstructured.NestedString(second.Object, "data", "key"); got != "one" {
		t.Errorf("the object holds %q, want what it was made with", got)
	}
}

func TestAConflictNamesTheFieldAndItsOwner(t *testing.T) {
	t.Parallel()
	a, namespace := applier(t)
	mustApply(t, a, configMap(t, namespace, "one"), apply.Created)
	there, err := a.Get(t.Context(), configMap(t, namespace, ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(there.Object, "theirs", "data", "key"); err != nil {
		t.Fatal(err)
	}
	if err := a.UpdateAs(t.Context(), there, "kubectl-edit"); err != nil {
		t.Fatal(err)
	}
	_, err = a.Apply(t.Context(), configMap(t, namespace, "two"))
	var c *apply.Conflict
	if !errors.As(err, &c) || len(c.Fields) != 1 || c.Fields[0] != (apply.Owned{Field: ".data.key", Manager: "kubectl-edit"}) {
		t.Fatalf("got %v", err)
	}
	a.Force = true
	mustApply(t, a, configMap(t, namespace, "two"), apply.Changed)
}

func TestAKindThatTheClusterLacksIsNamed(t *testing.T) {
	t.Parallel()
	a, namespace := applier(t)
	route := object(t, namespace, "apiVersion: route.example.com/v1\nkind: Way\nmetadata: {name: devices}\n")
	_, err := a.Apply(t.Context(), route)
	var u *apply.Unserved
	if !errors.As(err, &u) || u.APIVersion != "route.example.com/v1" {
		t.Errorf("got %v", err)
	}
	if change, err := a.Delete(t.Context(), route); err != nil || change != apply.Absent {
		t.Errorf("deleting what cannot be there: %s, %v", change, err)
	}
}

func TestDeletingTwiceIsFine(t *testing.T) {
	t.Parallel()
	a, namespace := applier(t)
	mustApply(t, a, configMap(t, namespace, "one"), apply.Created)
	for _, want := range []apply.Change{apply.Deleted, apply.Absent} {
		if got, err := a.Delete(t.Context(), configMap(t, namespace, "")); err != nil || got != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}
