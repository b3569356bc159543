package manifests_test

import (
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
)

func TestRulesOfADisruptionBudget(t *testing.T) {
	t.Parallel()
	client := dynamic.NewForConfigOrDie(localapitest.Shared(t).Config).Resource(v1alpha1.SchemeGroupVersion.WithResource("disruptionbudgets"))
	const lab = "selector: {matchLabels: {site: lab}}"
	full := strings.Repeat("x", 63)
	var largest []string
	for n := range 32 {
		largest = append(largest, "{key: a"+strconv.Itoa(n)+", operator: In, values: ["+strings.Repeat(full+", ", 200)+full+"]}")
	}
	for name, tt := range map[string]struct {
		name string // "racks" when empty
		spec string
		says string // empty: it is accepted
	}{
		"a number of devices":         {spec: lab + ", maxUnavailable: 2"},
		"a percentage":                {spec: lab + ", maxUnavailable: 10%"},
		"none may be down":            {spec: lab + ", maxUnavailable: 0"},
		"so many must be up":          {spec: lab + ", minAvailable: 80%"},
		"one a site and rack":         {spec: lab + ", maxUnavailable: 1, groupBy: [site, example.org/rack]"},
		"every device, said so":       {spec: "selector: {matchExpressions: [{key: fleet.nationtech.io/device, operator: Exists}]}, maxUnavailable: 10%"},
		"the largest selector":        {spec: "selector: {matchExpressions: [" + strings.Join(largest, ", ") + "]}, maxUnavailable: 1"},
		"a name of 63 characters":     {name: strings.Repeat("a", 63), spec: lab + ", maxUnavailable: 1"},
		"a name with a dot":           {name: "a.b", spec: lab + ", maxUnavailable: 1", says: "metadata.name a.b: a DisruptionBudget's name is a label, without dots"},
		"both numbers":                {spec: lab + ", maxUnavailable: 1, minAvailable: 1", says: "spec: Invalid value: a DisruptionBudget has exactly one of maxUnavailable"},
		"no number":                   {spec: lab, says: "a DisruptionBudget has exactly one of maxUnavailable"},
		"a number below 0":            {spec: lab + ", maxUnavailable: -1", says: "spec.maxUnavailable: Invalid value: maxUnavailable is a number of devices, or a percentage"},
		"a percentage of 0":           {spec: lab + ", minAvailable: 0%", says: "spec.minAvailable: Invalid value: minAvailable is a number of devices, or a percentage"},
		"a percentage above 100":      {spec: lab + ", maxUnavailable: 101%", says: "maxUnavailable is a number of devices, or a percentage"},
		"no selector":                 {spec: "maxUnavailable: 1", says: "spec.selector: Required value"},
		"an empty selector":           {spec: "selector: {}, maxUnavailable: 1", says: "spec.selector: Invalid value: an empty selector would mean every device"},
		"a selector's odd operator":   {spec: "selector: {matchExpressions: [{key: a, operator: Like}]}, maxUnavailable: 1", says: `operator "Like" of key a`},
		"five keys":                   {spec: lab + ", maxUnavailable: 1, groupBy: [a, b, c, d, e]", says: "must have at most 4 items"},
		"a key twice":                 {spec: lab + ", maxUnavailable: 1, groupBy: [a, b, a]", says: `"a": groupBy names each key once`},
		"a key that is no label's":    {spec: lab + ", maxUnavailable: 1, groupBy: ['a b']", says: `"a b": groupBy has keys of labels`},
		"an empty key":                {spec: lab + ", maxUnavailable: 1, groupBy: ['']", says: "groupBy has keys of labels"},
		"a field that there is not":   {spec: lab + ", maxUnavailable: 1, groupby: [a]", says: `unknown field "spec.groupby"`},
		"devices by text of a number": {spec: lab + `, maxUnavailable: "1"`, says: "maxUnavailable is a number of devices, or a percentage"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.name == "" {
				tt.name = "racks"
			}
			object := &unstructured.Unstructured{}
			text := "{apiVersion: fleet.nationtech.io/v1alpha1, kind: DisruptionBudget, metadata: {name: " + tt.name + "}, spec: {" + tt.spec + "}}"
			if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
				t.Fatalf("the test's own YAML: %v\n%s", err, text)
			}
			_, err := client.Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
			if (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}
