package gitops_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/manifests"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/doclinks"
	"fleet.nationtech.io/deploy/lint"
	"fleet.nationtech.io/deploy/schematest"
)

// tools are the definitions of Flux' and Argo CD's own kinds.
func tools(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	document := read(t, here+"/testdata/crds.json")
	var kinds map[string]json.RawMessage
	if err := json.Unmarshal(document, &kinds); err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	for kind := range kinds {
		at[kind] = "/" + strings.ReplaceAll(kind, "/", "~1")
	}
	return schematest.Compile(t, document, at)
}

func TestEachSampleIsTakenByItsAPI(t *testing.T) {
	t.Parallel()
	known, checked := tools(t), map[string]int{}
	for id, o := range samples(t) {
		kind := o.GetAPIVersion() + " " + o.GetKind()
		checked[kind]++
		var err error
		switch schema := known[kind]; {
		case schema != nil:
			err = schematest.Refusal(t, schema, o)
		case kind == "v1 Namespace":
			err = decode(o, &corev1.Namespace{})
		case kind == "v1 ConfigMap":
			err = decode(o, &corev1.ConfigMap{})
		case kind == "fleet.nationtech.io/v1alpha1 Deployment":
			err = decode(o, &v1alpha1.Deployment{})
		case kind == "fleet.nationtech.io/v1alpha1 DisruptionBudget":
			err = decode(o, &v1alpha1.DisruptionBudget{})
		default:
			t.Errorf("nothing checks %s, a %s", id, kind)
		}
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for kind := range known {
		if checked[kind] == 0 {
			t.Errorf("no sample is a %s", kind)
		}
	}
	misspelt := sample(t, "Kustomization fleet-crds").DeepCopy()
	misspelt.Object["spec"].(map[string]any)["interval"] = "soon"
	if schematest.Refusal(t, known["kustomize.toolkit.fluxcd.io/v1 Kustomization"], misspelt) == nil {
		t.Error("a wrong interval passes, so the definitions prove nothing")
	}
	misspelt = sample(t, "Application fleet-server").DeepCopy()
	misspelt.Object["spec"].(map[string]any)["sinkPolicy"] = map[string]any{}
	if schematest.Refusal(t, known["argoproj.io/v1alpha1 Application"], misspelt) == nil {
		t.Error("a misspelt field passes, so the definitions prove nothing")
	}
}

// decode decodes strictly: a field that the kind does not have is an error.
func decode(o *unstructured.Unstructured, into any) error {
	b, err := json.Marshal(o.Object)
	if err != nil {
		return err
	}
	return yaml.UnmarshalStrict(b, into)
}

// What fleetctl lint finds is what the API server, the operator or a device would refuse.
func TestLintFindsNothingInTheDeployments(t *testing.T) {
	t.Parallel()
	var r lint.Report
	for _, file := range yamlFiles(t, here+"/deployments") {
		if err := r.Add(file, bytes.NewReader(read(t, file))); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range r.Findings {
		t.Errorf("%+v", f)
	}
}

// inRepository gives the folder of this repository that a path of a source names: of a
// fleet's own repository the samples themselves.
func inRepository(t *testing.T, isOwn bool, p string) string {
	t.Helper()
	p = path.Clean(p)
	if !isOwn {
		return p
	}
	below, ok := strings.CutPrefix(p, own+"/")
	if !ok {
		t.Fatalf("path %s is not in %s/, where the samples are", p, own)
	}
	return path.Join(here, below)
}

// Each tool applies the definitions first, and of them each one, and nothing else that is
// in their folder.
func TestTheDefinitionsAreAppliedAlone(t *testing.T) {
	t.Parallel()
	definitions, err := manifests.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, d := range definitions {
		want = append(want, "CustomResourceDefinition "+d.Name)
	}
	flux := sample(t, "Kustomization fleet-crds")
	ignored := strings.Fields(text(t, sample(t, "GitRepository harmony-fleet"), "spec", "ignore"))
	for tool, files := range map[string][]string{
		"Flux": slices.DeleteFunc(yamlFiles(t, inRepository(t, false, text(t, flux, "spec", "path"))), func(file string) bool {
			return slices.ContainsFunc(ignored, func(folder string) bool {
				if !strings.HasPrefix(folder, "/") || !strings.HasSuffix(folder, "/") || strings.ContainsAny(folder, "*?!") {
					t.Fatalf("%s is no folder from the root", folder)
				}
				return strings.HasPrefix("/"+file, folder)
			})
		}),
		"Argo CD": includedByArgo(t, sample(t, "Application fleet-crds")),
	} {
		var got []string
		for _, file := range files {
			for _, o := range objects(t, file) {
				got = append(got, o.GetKind()+" "+o.GetName())
			}
		}
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-definitions +applied):\n%s", tool, d)
		}
	}
}

// includedByArgo lists the files that Argo CD takes of a folder of plain files: those in
// it, and not below, whose path in it matches.
func includedByArgo(t *testing.T, app *unstructured.Unstructured) []string {
	t.Helper()
	folder, pattern := text(t, app, "spec", "source", "path"), text(t, app, "spec", "source", "directory", "include")
	return slices.DeleteFunc(yamlFiles(t, folder), func(file string) bool {
		if path.Dir(file) != folder {
			return true
		}
		ok, err := path.Match(pattern, path.Base(file))
		if err != nil {
			t.Fatal(err)
		}
		return !ok
	})
}

// A part is begun once the one before is ready: the definitions, the server side, the
// Deployments.
func TestThePartsComeInOrder(t *testing.T) {
	t.Parallel()
	want := []string{"fleet-crds", "fleet-server", "fleet-deployments"}
	before := ""
	waves := map[string]string{}
	for _, name := range want {
		flux := sample(t, "Kustomization "+name)
		var needs []string
		list, _, err := unstructured.NestedSlice(flux.Object, "spec", "dependsOn")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range list {
			needs = append(needs, n.(map[string]any)["name"].(string))
		}
		if before != "" && !slices.Equal(needs, []string{before}) {
			t.Errorf("Flux' %s waits for %v, want %s", name, needs, before)
		}
		if waits, _, err := unstructured.NestedBool(flux.Object, "spec", "wait"); err != nil || !waits {
			t.Errorf("Flux' %s does not wait for its objects: %v", name, err)
		}
		waves[sample(t, "Application "+name).GetAnnotations()["argocd.argoproj.io/sync-wave"]] = name
		before = name
	}
	var argo []string
	for _, wave := range slices.Sorted(maps.Keys(waves)) { // of one digit each
		argo = append(argo, waves[wave])
	}
	if d := cmp.Diff(want, argo); d != "" {
		t.Errorf("Argo CD's waves (-want +got):\n%s", d)
	}
	for _, o := range []*unstructured.Unstructured{sample(t, "Kustomization fleet-crds"), sample(t, "Application fleet-crds")} {
		prunes, _, err := unstructured.NestedBool(o.Object, "spec", "prune")
		automated, _, errArgo := unstructured.NestedBool(o.Object, "spec", "syncPolicy", "automated", "prune")
		if err != nil || errArgo != nil || prunes || automated {
			t.Errorf("%s %s may delete a definition, and all of its objects with it", o.GetKind(), o.GetName())
		}
	}
}

// Each path that a tool is given is there, in this repository or in the copy of the samples.
func TestEachPathIsThere(t *testing.T) {
	t.Parallel()
	for id, o := range samples(t) {
		var folder string
		switch o.GetKind() {
		case "Kustomization":
			source := text(t, o, "spec", "sourceRef", "name")
			if source != "flux-system" && samples(t)["GitRepository "+source] == nil {
				t.Errorf("%s: there is no GitRepository %s", id, source)
			}
			folder = inRepository(t, source == "flux-system", text(t, o, "spec", "path"))
		case "Application":
			folder = inRepository(t, strings.HasSuffix(text(t, o, "spec", "source", "repoURL"), "/fleet-config"), text(t, o, "spec", "source", "path"))
		default:
			continue
		}
		if len(yamlFiles(t, folder)) == 0 {
			t.Errorf("%s: %s has no YAML", id, folder)
		}
	}
}

// served gives an object as the API server does that has just taken it: with the status
// that its definition begins with.
func served(t *testing.T, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	definitions, err := manifests.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	o = o.DeepCopy()
	o.SetGeneration(2)
	for _, d := range definitions {
		if d.Spec.Names.Kind != o.GetKind() {
			continue
		}
		var status map[string]any
		if err := utiljson.Unmarshal(d.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"].Default.Raw, &status); err != nil {
			t.Fatal(err)
		}
		o.Object["status"] = status
		return o
	}
	t.Fatalf("%s is of no kind of ours", o.GetKind())
	return nil
}

func TestTheLinksOfTheReadmeLeadSomewhere(t *testing.T) {
	t.Parallel()
	broken, err := doclinks.Broken(os.DirFS(repository), here+"/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range broken {
		t.Error(b)
	}
}
