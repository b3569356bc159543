package migration

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
)

func TestASelectorIsGuessedFromWhatDevicesReport(t *testing.T) {
	t.Parallel()
	in := func(key string, values ...string) eventlog.Selector {
		return eventlog.Selector{MatchExpressions: []eventlog.SelectorRequirement{{Key: key, Operator: "In", Values: values}}}
	}
	all := fleetLabels{
		"a": {"site": "lab", "arch": "arm64", "floor": "1"}, "b": {"site": "lab", "arch": "amd64", "floor": "2"},
		"c": {"site": "hall", "arch": "arm64", "floor": "3"}, "d": {"site": "hall", "arch": "amd64", "floor": "4"}, "e": {},
	}
	for name, c := range map[string]struct {
		members []string
		want    eventlog.Selector
		how     string
	}{
		"one label":              {[]string{"a", "b"}, eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}}, ByLabels},
		"one device by a label":  {[]string{"a"}, eventlog.Selector{MatchLabels: map[string]string{"floor": "1"}}, ByLabels},
		"values of one label":    {[]string{"a", "d"}, in("floor", "1", "4"), ByLabels},
		"a device without any":   {[]string{"a", "e"}, in(v1alpha1.LabelDevice, "a", "e"), ByIDs},
		"all that have a label":  {[]string{"a", "b", "c", "d"}, in("arch", "amd64", "arm64"), ByLabels},
		"all, one without label": {[]string{"a", "b", "c", "d", "e"}, in(v1alpha1.LabelDevice, "a", "b", "c", "d", "e"), ByIDs},
	} {
		members := map[string]bool{}
		for _, d := range c.members {
			members[d] = true
		}
		got, how := guess("web", members, all, 0, true)
		if diff := cmp.Diff(c.want, got); diff != "" || how != c.how {
			t.Errorf("%s: by %s, want %s (-want +got):\n%s", name, how, c.how, diff)
		}
	}
}

// A selector that misses a member, or takes in another, would take a Deployment off a
// device, or bring it to one.
func TestAGuessedSelectorSelectsTheMembersAndNobodyElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all, members := fleetLabels{}, map[string]bool{}
		for i := range rapid.IntRange(1, 30).Draw(t, "devices") {
			id := fmt.Sprintf("d%02d", i)
			all[id] = map[string]string{}
			for _, k := range []string{"x", "y", "z"} {
				if v := rapid.IntRange(0, 3).Draw(t, k); v > 0 {
					all[id][k] = fmt.Sprint(v)
				}
			}
			if i == 0 || rapid.Bool().Draw(t, "member") {
				members[id] = true
			}
		}
		sel, how := guess("web", members, all, 0, true)
		for id, labels := range all {
			if got := selects(sel, id, labels, how == ByMarking && members[id]); got != members[id] {
				t.Fatalf("%+v selects %s: %v, want %v", sel, id, got, members[id])
			}
		}
	})
}

func selects(sel eventlog.Selector, id string, labels map[string]string, marked bool) bool {
	value := func(k string) (string, bool) {
		switch {
		case k == v1alpha1.LabelDevice:
			return id, true
		case marked && k == markingPrefix+"web":
			return "true", true
		}
		v, ok := labels[k]
		return v, ok
	}
	for k, v := range sel.MatchLabels {
		if got, ok := value(k); !ok || got != v {
			return false
		}
	}
	for _, r := range sel.MatchExpressions {
		got, ok := value(r.Key)
		in := false
		for _, v := range r.Values {
			in = in || ok && v == got
		}
		if !in {
			return false
		}
	}
	return true
}
