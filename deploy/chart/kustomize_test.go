package chart_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
)

const kustomizeDir = "../kustomize"

func TestTheFilesOfKustomizeAreWhatIsMade(t *testing.T) {
	t.Parallel()
	files, err := chart.KustomizeFiles()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = fs.WalkDir(os.DirFS(kustomizeDir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(kustomizeDir, path))
		got[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for path, b := range files {
		want[path] = string(b)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run: make generate (-made +there):\n%s", diff)
	}
}

// What kustomize builds of the base and of each overlay is what Helm renders of the chart,
// object by object, and the namespace.
func TestKustomizeBuildsWhatHelmRenders(t *testing.T) {
	t.Parallel()
	for folder, o := range chart.KustomizeRenderings() {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			want := map[string]any{}
			for _, object := range append(render(t, o), chart.Namespace(names.Namespace)) {
				want[identity(object)] = object.Object
			}
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(kustomizeDir, folder))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]any{}
			for _, r := range built.Resources() {
				b, err := r.MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				object := &unstructured.Unstructured{}
				if err := object.UnmarshalJSON(b); err != nil {
					t.Fatal(err)
				}
				got[identity(object)] = object.Object
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Fatalf("objects (-helm +kustomize):\n%s", diff)
			}
			if len(want) < 20 {
				t.Fatalf("%d objects", len(want))
			}
			for name := range want {
				if diff := cmp.Diff(normal(want[name]), normal(got[name])); diff != "" {
					t.Errorf("%s (-helm +kustomize):\n%s", name, diff)
				}
			}
		})
	}
}

func identity(o *unstructured.Unstructured) string {
	return o.GetAPIVersion() + " " + o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// normal makes numbers of one kind: decoders differ in theirs.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = normal(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = normal(x)
		}
		return out
	case int64:
		return float64(v)
	}
	return v
}
