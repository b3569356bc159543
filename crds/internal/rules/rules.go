// Package rules holds what the API server checks beyond the shapes of fields:
// the CEL rules of our CRDs, and the bounds that they need where the Go type
// is not ours. It is written in Go rather than as markers, because the rules
// share patterns, each also says which of several services is meant, and the
// patterns are tested on their own.
//
// The API server estimates what a rule can cost from the maxima in the schema
// and refuses a CRD whose rules could cost too much, so every list and string
// has one. The rules use only what CEL has in Kubernetes 1.31 and later, since
// the cluster may be somebody else's.
package rules

import (
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// quote writes a Go string as a CEL string literal.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// matches is a CEL expression: does the string match the whole pattern?
func matches(expr, pattern string) string {
	return expr + ".matches(" + quote("^(?:"+pattern+")$") + ")"
}

// finds is a CEL expression: is the pattern somewhere in the string?
func finds(expr, pattern string) string {
	return expr + ".matches(" + quote(pattern) + ")"
}

// rule puts a rule together. says is the message, in full; shows, where there
// is one, is a CEL string that names the culprits and is put before it.
func rule(fieldPath, when, shows, says string) apiextensionsv1.ValidationRule {
	r := apiextensionsv1.ValidationRule{
		Rule:      when,
		FieldPath: fieldPath,
		Message:   says,
	}
	if shows != "" {
		r.MessageExpression = shows + " + " + quote(": "+says)
	}
	return r
}

// Names returns the rule for an object whose name becomes a token of subjects
// and keys. It belongs at the root of a schema.
func Names(of string) apiextensionsv1.ValidationRules {
	return apiextensionsv1.ValidationRules{rule(
		"",
		matches("self.metadata.name", LabelPattern),
		quote("metadata.name ")+" + self.metadata.name",
		of+" is a label, without dots: lower-case letters, digits and '-', at most 63 characters, a letter or digit first and last",
	)}
}
