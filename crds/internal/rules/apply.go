package rules

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Apply puts the rules and bounds into a CRD of ours, as controller-gen made it.
//
// Errors: a CRD that is none of ours, or whose schema lacks a place for them.
func Apply(crd *apiextensionsv1.CustomResourceDefinition) error {
	if len(crd.Spec.Versions) != 1 {
		return fmt.Errorf("CRD %s: %d versions, and the rules are for one", crd.Name, len(crd.Spec.Versions))
	}
	root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	switch crd.Spec.Names.Kind {
	case "Device":
		root.XValidations = Names("a device's id")
		return nil
	case "Deployment":
		root.XValidations = Names("a Deployment's name")
	default:
		return fmt.Errorf("CRD %s: no rules for kind %s", crd.Name, crd.Spec.Names.Kind)
	}
	spec, found := root.Properties["spec"]
	if !found {
		return fmt.Errorf("CRD %s: no spec in the schema", crd.Name)
	}
	for name, put := range map[string]func(*apiextensionsv1.JSONSchemaProps){
		"targetSelector": func(s *apiextensionsv1.JSONSchemaProps) { boundSelector(s); s.XValidations = Selector() },
		"score":          func(s *apiextensionsv1.JSONSchemaProps) { s.XValidations = Score() },
	} {
		field, found := spec.Properties[name]
		if !found {
			return fmt.Errorf("CRD %s: no spec.%s in the schema", crd.Name, name)
		}
		put(&field)
		spec.Properties[name] = field
	}
	return nil
}
