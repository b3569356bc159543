package gitops_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// repository is the root of this repository, from which paths in these tests go.
const repository = "../.."

// here is the folder of the samples; a fleet has its copy in the folder of its own
// repository that is called own.
const (
	here = "deploy/gitops"
	own  = "fleet"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(path.Join(repository, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// yamlFiles lists the YAML files below a folder, as Flux takes them.
func yamlFiles(t *testing.T, folder string) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(repository), folder, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ext := path.Ext(file); ext == ".yaml" || ext == ".yml" {
			files = append(files, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// objects reads a file strictly: a key that comes twice is an error.
func objects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(read(t, file))))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		o := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(document, &o.Object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if o.GetKind() == "" || o.GetName() == "" {
			t.Fatalf("%s has a document that is no object", file)
		}
		all = append(all, o)
	}
}

// samples are all objects of the samples, by kind and name.
func samples(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	all := map[string]*unstructured.Unstructured{}
	for _, file := range yamlFiles(t, here) {
		for _, o := range objects(t, file) {
			id := o.GetKind() + " " + o.GetName()
			if all[id] != nil {
				t.Fatalf("%s is there twice", id)
			}
			all[id] = o
		}
	}
	return all
}

func sample(t *testing.T, id string) *unstructured.Unstructured {
	t.Helper()
	o := samples(t)[id]
	if o == nil {
		t.Fatalf("there is no %s", id)
	}
	return o
}

func text(t *testing.T, o *unstructured.Unstructured, fields ...string) string {
	t.Helper()
	s, found, err := unstructured.NestedString(o.Object, fields...)
	if err != nil || !found {
		t.Fatalf("%s %s has no %s: %v", o.GetKind(), o.GetName(), strings.Join(fields, "."), err)
	}
	return s
}

func texts(t *testing.T, o *unstructured.Unstructured, fields ...string) []string {
	t.Helper()
	s, _, err := unstructured.NestedStringSlice(o.Object, fields...)
	if err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	return s
}

func values(t *testing.T, o *unstructured.Unstructured, fields ...string) map[string]any {
	t.Helper()
	v, found, err := unstructured.NestedMap(o.Object, fields...)
	if err != nil || !found {
		t.Fatalf("%s %s has no %s: %v", o.GetKind(), o.GetName(), strings.Join(fields, "."), err)
	}
	return v
}
