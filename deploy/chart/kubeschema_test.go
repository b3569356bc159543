package chart_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	const at = "file:///kubernetes.json"
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	if err := compiler.AddResource(at, doc); err != nil {
		t.Fatal(err)
	}
	all := map[string]*jsonschema.Schema{}
	for kind, name := range roots.Kinds {
		if all[kind], err = compiler.Compile(at + "#/definitions/" + name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// foreign are the API groups that are no part of Kubernetes.
func foreign(o *unstructured.Unstructured) bool {
	for _, group := range []string{"monitoring.coreos.com/", "route.openshift.io/", "gateway.networking.k8s.io/"} {
		if strings.HasPrefix(o.GetAPIVersion(), group) {
			return true
		}
	}
	return false
}

func refuses(t *testing.T, s *jsonschema.Schema, o *unstructured.Unstructured) error {
	t.Helper()
	b, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(instance)
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
					if err := refuses(t, known[kind], o); err != nil {
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
			if refuses(t, known["apps/v1 StatefulSet"], o) == nil {
				t.Error("a misspelt field passes: the schemas prove nothing")
			}
		})
	}
}
