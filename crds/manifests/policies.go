package manifests

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

//go:embed policies/*.yaml
var policies embed.FS

// Policies returns the admission policies and their bindings, in the order in
// which they are to be applied. They are apart from the CRDs because not every
// API server serves their kinds.
func Policies() ([]*unstructured.Unstructured, error) {
	const folder = "policies"
	entries, err := policies.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("list embedded policies: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, entry := range entries {
		file, err := policies.ReadFile(folder + "/" + entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read embedded policy: %w", err)
		}
		documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(file)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("embedded policy %s: %w", entry.Name(), err)
			}
			object := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict(document, &object.Object); err != nil {
				return nil, fmt.Errorf("decode embedded policy %s: %w", entry.Name(), err)
			}
			objects = append(objects, object)
		}
	}
	return objects, nil
}
