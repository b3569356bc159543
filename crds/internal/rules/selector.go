package rules

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

const (
	maxLabelKey   = 317
	maxLabelValue = 63
)

// selectorBounds are the bounds of a selector, which metav1.LabelSelector doesn't have.
type selectorBounds struct{ labels, expressions, values int64 }

var (
	boundsOfTarget = selectorBounds{32, 32, 256}
	boundsOfPin    = selectorBounds{8, 4, 16} // there can be ten of them
)

// What an empty selector would mean.
const (
	everyDevice = "an empty selector would mean every device: write a label, as in matchLabels: {site: lab}, or, to mean every device, now and later, matchExpressions: [{key: fleet.nationtech.io/device, operator: Exists}]"
	noDevice    = "an empty selector would mean every device: write a label, as in matchLabels: {canary: \"true\"}, or leave the selector out of the last batch, which takes the rest"
)

// putSelector puts bounds and rules into the schema of a metav1.LabelSelector.
func putSelector(s *schema, bounds selectorBounds, empty string) {
	bounds.put(s)
	s.XValidations = Selector(empty)
}

// Selector returns the rules of a selector; empty is what they say of an empty one.
func Selector(empty string) apiextensionsv1.ValidationRules {
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
			empty),
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

// put gives the schema the maxima that the rules need.
func (b selectorBounds) put(s *schema) {
	labels := s.Properties["matchLabels"]
	labels.MaxProperties = ptr(b.labels)
	labels.AdditionalProperties.Schema.MaxLength = ptr(maxLabelValue)
	s.Properties["matchLabels"] = labels

	expressions := s.Properties["matchExpressions"]
	expressions.MaxItems = ptr(b.expressions)
	item := expressions.Items.Schema
	key, operator, values := item.Properties["key"], item.Properties["operator"], item.Properties["values"]
	key.MaxLength = ptr(maxLabelKey)
	operator.MaxLength = ptr(maxLabelValue)
	values.MaxItems = ptr(b.values)
	values.Items.Schema.MaxLength = ptr(maxLabelValue)
	item.Properties["key"], item.Properties["operator"], item.Properties["values"] = key, operator, values
	s.Properties["matchExpressions"] = expressions
}

func ptr(n int64) *int64 { return &n }
