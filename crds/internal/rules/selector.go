package rules

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// The bounds of a selector, which metav1.LabelSelector doesn't have.
const (
	maxMatchLabels      = 32
	maxMatchExpressions = 32
	maxSelectorValues   = 256
	maxLabelKey         = 317
	maxLabelValue       = 63
)

// Selector returns the rules of spec.targetSelector.
func Selector() apiextensionsv1.ValidationRules {
	const (
		labels      = "self.matchLabels"
		expressions = "self.matchExpressions"
		hasValues   = "(has(e.values) && e.values.size() > 0)"
		operators   = "['In', 'NotIn', 'Exists', 'DoesNotExist']"
	)
	everyExpression := func(ok, shows, says string) apiextensionsv1.ValidationRule {
		return rule(".matchExpressions",
			"!has("+expressions+") || "+expressions+".all(e, "+ok+")",
			expressions+".map(e, !("+ok+"), "+shows+")[0]",
			says)
	}
	badValues := "e.values.map(v, !" + matches("v", LabelValuePattern) + ", v)"
	return apiextensionsv1.ValidationRules{
		rule("",
			"(has("+labels+") && "+labels+".size() > 0) || (has("+expressions+") && "+expressions+".size() > 0)",
			"",
			"an empty selector would mean every device: write a label, as in matchLabels: {site: lab}, or, to mean every device, now and later, matchExpressions: [{key: fleet.nationtech.io/device, operator: Exists}]"),
		rule(".matchLabels",
			"!has("+labels+") || "+labels+".all(k, "+labelKey("k")+")",
			"",
			"each key must be a label's key: letters, digits, '-', '_' and '.', at most 63 characters, a letter or digit first and last, and optionally a DNS name and '/' before it"),
		rule(".matchLabels",
			"!has("+labels+") || "+labels+".all(k, "+matches(labels+"[k]", LabelValuePattern)+")",
			"'value ' + "+labels+".map(k, !"+matches(labels+"[k]", LabelValuePattern)+", '\"' + "+labels+"[k] + '\"')[0]",
			"a label's value has letters, digits, '-', '_' and '.', at most 63 characters, a letter or digit first and last"),
		everyExpression(labelKey("e.key"), `'key "' + e.key + '"'`,
			"a label's key has letters, digits, '-', '_' and '.', at most 63 characters, a letter or digit first and last, and optionally a DNS name and '/' before it"),
		everyExpression("e.operator in "+operators, `'operator "' + e.operator + '" of key ' + e.key`,
			"the operators are In, NotIn, Exists and DoesNotExist"),
		everyExpression("!(e.operator in ['In', 'NotIn']) || "+hasValues, "e.operator + ' of key ' + e.key",
			"In and NotIn need values, as in {key: site, operator: In, values: [lab, hall]}"),
		everyExpression("!(e.operator in ['Exists', 'DoesNotExist']) || !"+hasValues, "e.operator + ' of key ' + e.key",
			"Exists and DoesNotExist look at the key alone: leave values out"),
		everyExpression("!has(e.values) || "+badValues+".size() == 0", `'values of key ' + e.key + ': "' + `+badValues+`[0] + '"'`,
			"a label's value has letters, digits, '-', '_' and '.', at most 63 characters, a letter or digit first and last"),
	}
}

// labelKey is a CEL expression: is the string the key of a label? The name's
// length is in the pattern, the prefix's is not.
func labelKey(expr string) string {
	return expr + ".size() <= 317 && " + matches(expr, LabelKeyPattern) + " && " + expr + ".find('^[^/]*/').size() <= 254"
}

// boundSelector gives the schema of a metav1.LabelSelector the maxima that the
// rules need.
func boundSelector(s *apiextensionsv1.JSONSchemaProps) {
	labels := s.Properties["matchLabels"]
	labels.MaxProperties = ptr(maxMatchLabels)
	labels.AdditionalProperties.Schema.MaxLength = ptr(maxLabelValue)
	s.Properties["matchLabels"] = labels

	expressions := s.Properties["matchExpressions"]
	expressions.MaxItems = ptr(maxMatchExpressions)
	item := expressions.Items.Schema
	key, operator, values := item.Properties["key"], item.Properties["operator"], item.Properties["values"]
	key.MaxLength = ptr(maxLabelKey)
	operator.MaxLength = ptr(maxLabelValue)
	values.MaxItems = ptr(maxSelectorValues)
	values.Items.Schema.MaxLength = ptr(maxLabelValue)
	item.Properties["key"], item.Properties["operator"], item.Properties["values"] = key, operator, values
	s.Properties["matchExpressions"] = expressions
}

func ptr(n int64) *int64 { return &n }
