// Package schematest holds objects of Kubernetes against JSON schemas, for tests.
package schematest

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Compile gives the schemas of a document (draft 7) by kind. at has a JSON pointer into
// the document for each kind (RFC 6901).
func Compile(t testing.TB, document []byte, at map[string]string) map[string]*jsonschema.Schema {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	const url = "file:///schemas.json"
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7)
	if err := compiler.AddResource(url, parsed); err != nil {
		t.Fatal(err)
	}
	all := map[string]*jsonschema.Schema{}
	for kind, pointer := range at {
		if all[kind], err = compiler.Compile(url + "#" + pointer); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Refusal says why a schema refuses an object; nil where it takes it.
func Refusal(t testing.TB, s *jsonschema.Schema, o *unstructured.Unstructured) error {
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
