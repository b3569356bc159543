// Package manifests holds the CustomResourceDefinitions of group
// fleet.nationtech.io and the admission policies that go with them, embedded, so
// that what installs them needs no files.
package manifests

import (
	"embed"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

//go:embed *.yaml
var files embed.FS

// CRDs returns each CRD's YAML, ordered by file name.
func CRDs() ([][]byte, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("list embedded CRDs: %w", err)
	}
	var crds [][]byte
	for _, entry := range entries {
		crd, err := files.ReadFile(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read embedded CRD: %w", err)
		}
		crds = append(crds, crd)
	}
	return crds, nil
}

// Definitions returns the CRDs as typed objects, ordered by file name.
func Definitions() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	crds, err := CRDs()
	if err != nil {
		return nil, err
	}
	var typed []*apiextensionsv1.CustomResourceDefinition
	for _, crd := range crds {
		var t apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(crd, &t); err != nil {
			return nil, fmt.Errorf("decode embedded CRD: %w", err)
		}
		typed = append(typed, &t)
	}
	return typed, nil
}
