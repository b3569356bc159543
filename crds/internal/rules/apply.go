package rules

import (
	"fmt"
	"strings"

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
	places, known := map[string][]place{
		"Device": nil,
		"Deployment": append([]place{
			{"spec.targetSelector", func(s *schema) { putSelector(s, boundsOfTarget, everyDevice) }},
			{"spec.score", func(s *schema) { s.XValidations = Score() }},
		}, append(filledIn(), rolloutPlaces()...)...),
		"DisruptionBudget": budgetPlaces(),
	}[crd.Spec.Names.Kind]
	if !known {
		return fmt.Errorf("CRD %s: no rules for kind %s", crd.Name, crd.Spec.Names.Kind)
	}
	root.XValidations = map[string]apiextensionsv1.ValidationRules{
		"Device":           Names("a device's id"),
		"Deployment":       append(Names("a Deployment's name"), dependsOnItself()),
		"DisruptionBudget": Names("a DisruptionBudget's name"),
	}[crd.Spec.Names.Kind]
	for _, p := range places {
		if err := p.in(root); err != nil {
			return fmt.Errorf("CRD %s: %w", crd.Name, err)
		}
	}
	return nil
}

type schema = apiextensionsv1.JSONSchemaProps

// place is where in a schema something is put: a path such as spec.rollout.batches[].
// Where it ends in [], the list's items are meant; in {}, the map's values.
type place struct {
	path string
	put  func(*schema)
}

func (p place) in(s *schema) error {
	name, below, deeper := strings.Cut(p.path, ".")
	name, items := strings.CutSuffix(name, "[]")
	name, values := strings.CutSuffix(name, "{}")
	field, found := s.Properties[name]
	if !found {
		return fmt.Errorf("no %s in the schema", p.path)
	}
	target := &field
	if items {
		if field.Items == nil || field.Items.Schema == nil {
			return fmt.Errorf("no list %s in the schema", p.path)
		}
		target = field.Items.Schema
	}
	if values {
		if field.AdditionalProperties == nil || field.AdditionalProperties.Schema == nil {
			return fmt.Errorf("no map %s in the schema", p.path)
		}
		target = field.AdditionalProperties.Schema
	}
	if deeper {
		if err := (place{below, p.put}).in(target); err != nil {
			return err
		}
	} else {
		p.put(target)
	}
	s.Properties[name] = field
	return nil
}
