package rules

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

func budgetPlaces() []place {
	return []place{
		{"spec", func(s *schema) { s.XValidations = Budget() }},
		{"spec.selector", func(s *schema) { putSelector(s, boundsOfTarget, everyDevice) }},
	}
}

// Budget returns the rules of a DisruptionBudget's spec, but for those of its selector.
func Budget() apiextensionsv1.ValidationRules {
	const groupBy = "self.groupBy"
	key := labelKey("k")
	unique := groupBy + ".exists_one(o, o == k)"
	number := func(field string) apiextensionsv1.ValidationRule {
		v := "self." + field
		return rule("."+field, "!has("+v+") || "+amount(v, 0), "",
			field+" is a number of devices, or a percentage from 1% to 100%, such as \"10%\"")
	}
	return apiextensionsv1.ValidationRules{
		rule("", "has(self.maxUnavailable) != has(self.minAvailable)", "",
			"a DisruptionBudget has exactly one of maxUnavailable, such as 1 or \"10%\", and minAvailable"),
		number("maxUnavailable"),
		number("minAvailable"),
		rule(".groupBy", "!has("+groupBy+") || "+groupBy+".all(k, "+key+")",
			groupBy+".map(k, !("+key+"), '\"' + k + '\"')[0]",
			"groupBy has keys of labels: letters, digits, '-', '_' and '.', at most 63 characters, a letter or digit first and last, and optionally a DNS name and '/' before it"),
		rule(".groupBy", "!has("+groupBy+") || "+groupBy+".all(k, "+unique+")",
			groupBy+".map(k, !"+unique+", '\"' + k + '\"')[0]",
			"groupBy names each key once"),
	}
}
