package selectors_test

import (
	"testing"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/selectors"
	"fleet.nationtech.io/projections/storytest"
)

func TestSelectors(t *testing.T) {
	t.Parallel()
	one := func(key, op string, values ...string) eventlog.Selector {
		return eventlog.Selector{MatchExpressions: []eventlog.SelectorRequirement{{Key: key, Operator: op, Values: values}}}
	}
	labels := map[string]string{"site": "lab", "zone": "b"}
	tests := map[string]struct {
		selector eventlog.Selector
		selects  bool
		text     string
	}{
		"a label that is there":               {storytest.Lab(), true, "site=lab"},
		"a label with another value":          {eventlog.Selector{MatchLabels: map[string]string{"site": "field"}}, false, "site=field"},
		"In with its value":                   {one("zone", "In", "b", "a"), true, "zone in (a,b)"},
		"In without it":                       {one("zone", "In", "a"), false, "zone=a"},
		"In of a label that is not there":     {one("gpu", "In", "yes"), false, "gpu=yes"},
		"NotIn with its value":                {one("zone", "NotIn", "b"), false, "zone!=b"},
		"NotIn without it":                    {one("zone", "NotIn", "a", "c"), true, "zone notin (a,c)"},
		"NotIn of a label that is not there":  {one("gpu", "NotIn", "yes"), true, "gpu!=yes"},
		"Exists":                              {one("zone", "Exists"), true, "zone"},
		"Exists of what is not there":         {one("gpu", "Exists"), false, "gpu"},
		"DoesNotExist":                        {one("zone", "DoesNotExist"), false, "!zone"},
		"DoesNotExist of what is not there":   {one("gpu", "DoesNotExist"), true, "!gpu"},
		"an operator that nobody knows":       {one("zone", "Near", "b"), false, "zone Near b"},
		"an empty selector selects nothing":   {eventlog.Selector{}, false, "<none>"},
		"all requirements have to be met":     {eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}, MatchExpressions: one("gpu", "Exists").MatchExpressions}, false, "site=lab,gpu"},
		"labels and expressions that are met": {eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}, MatchExpressions: one("zone", "Exists").MatchExpressions}, true, "site=lab,zone"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := selectors.Selects(tt.selector, labels); got != tt.selects {
				t.Errorf("selects: %v", got)
			}
			if got := selectors.SelectorText(tt.selector); got != tt.text {
				t.Errorf("reads %q, want %q", got, tt.text)
			}
		})
	}
}
