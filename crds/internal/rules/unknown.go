package rules

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// unknownFields is the policy's name, and its binding's.
const unknownFields = "unknown-fields.fleet.nationtech.io"

// level is a place of a score where unknown fields are kept: each service, or what
// is below it.
type level struct {
	field string // below a service, as in healthCheck.http; empty for the service itself
	known []string
}

// UnknownFields returns the admission policy, and its binding, that warns of fields
// of a PodmanV0 score that the schema lacks. The schema keeps them, and rules of a
// CRD cannot see what the schema lacks; a policy sees the object as it is.
//
// Errors: a schema that has no PodmanV0 score.
func UnknownFields(crd *apiextensionsv1.CustomResourceDefinition) ([]byte, error) {
	data := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["score"].Properties["data"]
	list, found := data.Properties["services"]
	if !found || list.Items == nil || list.Items.Schema == nil {
		return nil, fmt.Errorf("CRD %s: no spec.score.data.services in the schema", crd.Name)
	}
	validations := []map[string]string{{
		"expression":        "!has(object.spec.score.data) || object.spec.score.data.all(k, k in " + literal(fieldsOf(data)) + ")",
		"messageExpression": unknownIn("object.spec.score.data", "'spec.score.data'", fieldsOf(data)) + ".join(' ')",
		"message":           "the score has fields that are not known to this version",
	}}
	for _, l := range levels("", *list.Items.Schema) {
		here, at, there := "s", "'spec.score.data.services[' + string(variables.services.indexOf(s)) + ']'", "true"
		if l.field != "" {
			here, at, there = "s."+l.field, at+" + '."+l.field+"'", present(l.field)
		}
		validations = append(validations, map[string]string{
			"expression": "variables.services.all(s, !" + there + " || " + here + ".all(k, k in " + literal(l.known) + "))",
			"messageExpression": "variables.services.filter(s, " + there + ").map(s, " + unknownIn(here, at, l.known) +
				".join(' ')).filter(m, m != '').join(' ')",
			"message": "the score has fields that are not known to this version",
		})
	}
	const group = "admissionregistration.k8s.io/v1"
	policy, err := yaml.Marshal(map[string]any{
		"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": map[string]any{"name": unknownFields},
		"spec": map[string]any{
			"failurePolicy": "Ignore", // it only warns
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []string{crd.Spec.Group}, "apiVersions": []string{"*"},
				"resources": []string{crd.Spec.Names.Plural}, "operations": []string{"CREATE", "UPDATE"},
			}}},
			"matchConditions": []any{map[string]any{
				"name":       "a-new-score-that-is-known",
				"expression": "object.spec.score.type == 'PodmanV0' && (request.operation == 'CREATE' || object.spec != oldObject.spec)",
			}},
			"variables": []any{map[string]any{
				"name":       "services",
				"expression": "has(object.spec.score.data) && has(object.spec.score.data.services) ? object.spec.score.data.services : []",
			}},
			"validations": validations,
		},
	})
	if err != nil {
		return nil, err
	}
	binding, err := yaml.Marshal(map[string]any{
		"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": map[string]any{"name": unknownFields},
		"spec": map[string]any{"policyName": unknownFields, "validationActions": []string{"Warn"}},
	})
	return bytes.Join([][]byte{policy, binding}, []byte("---\n")), err
}

// levels are the places at and below a schema where unknown fields are kept.
func levels(field string, schema apiextensionsv1.JSONSchemaProps) []level {
	var found []level
	if keep := schema.XPreserveUnknownFields; keep != nil && *keep {
		found = append(found, level{field, fieldsOf(schema)})
	}
	for _, name := range fieldsOf(schema) {
		found = append(found, levels(strings.TrimPrefix(field+"."+name, "."), schema.Properties[name])...)
	}
	return found
}

func fieldsOf(schema apiextensionsv1.JSONSchemaProps) []string {
	return slices.Sorted(maps.Keys(schema.Properties))
}

func literal(names []string) string { return "['" + strings.Join(names, "', '") + "']" }

// unknownIn is a CEL list of sentences about the unknown fields of an object. CEL
// cannot tell how alike two names are, so what is suggested begins alike.
func unknownIn(object, at string, known []string) string {
	alike := "[" + literal(known) + ".filter(f, k.size() > 1 && f.lowerAscii().startsWith(k.lowerAscii().substring(0, 2)))]" +
		".map(n, n.size() > 0 ? '; did you mean ' + n.join(' or ') + '?' : '.')[0]"
	return object + ".map(k, !(k in " + literal(known) + "), " + at + " + '.' + k + ' is not known to this version' + " + alike + ")"
}
