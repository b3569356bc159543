package chart_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/schematest"
)

// schemas are those of one version of Kubernetes, by kind.
func schemas(t *testing.T, file string) map[string]*jsonschema.Schema {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var roots struct{ Kinds map[string]string }
	if err := json.Unmarshal(b, &roots); err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	for kind, name := range roots.Kinds {
		at[kind] = "/definitions/" + name
	}
	return schematest.Compile(t, b, at)
}

// foreign are the API groups that are no part of Kubernetes.
func foreign(o *unstructured.Unstructured) bool {
	for _, group := range []string{"monitoring.coreos.com/", "route.openshift.io/", "gateway.networking.k8s.io/", "cert-manager.io/"} {
		if strings.HasPrefix(o.GetAPIVersion(), group) {
			return true
		}
	}
	return false
}

// Each object is valid in the oldest Kubernetes that the chart supports, in one between, and
// in the newest, by their own OpenAPI: it has no field that a version does not know.
func TestEachObjectIsValidInThreeVersionsOfKubernetes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/kubernetes/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d versions, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			known := schemas(t, file)
			checked := map[string]bool{}
			for name, options := range renderings() {
				for _, o := range render(t, options) {
					if foreign(o) {
						continue
					}
					kind := o.GetAPIVersion() + " " + o.GetKind()
					if known[kind] == nil {
						t.Fatalf("no schema of %s: add it to kubeschema", kind)
					}
					if err := schematest.Refusal(t, known[kind], o); err != nil {
						t.Errorf("%s: %s: %v", name, o.GetName(), err)
					}
					checked[kind] = true
				}
			}
			if len(checked) != len(known)-1 { // the namespace is of kustomize's base
				t.Errorf("%d kinds were checked of %d", len(checked), len(known))
			}
			o := find(render(t, renderings()["production"]), "StatefulSet", "fleet-nats").DeepCopy()
			if err := unstructured.SetNestedField(o.Object, "x", "spec", "template", "spec", "misspelt"); err != nil {
				t.Fatal(err)
			}
			if schematest.Refusal(t, known["apps/v1 StatefulSet"], o) == nil {
				t.Error("a misspelt field passes: the schemas prove nothing")
			}
		})
	}
}
