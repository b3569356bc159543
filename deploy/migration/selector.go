package migration

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
)

// Ways in which a selector was found. All of them select the devices that have the
// Deployment, and no others.
const (
	ByLabels  = "labels"  // labels that the devices report
	ByIDs     = "ids"     // a list of the devices' ids
	ByMarking = "marking" // a label that the import gives to these devices
)

// markingPrefix begins the label that marks the devices of one Deployment.
const markingPrefix = "import.fleet.nationtech.io/"

// What a guessed selector may hold: as many values as a person can review.
const (
	maxValues     = 32
	defaultMaxIDs = 200
)

// guess finds a selector for the devices of a Deployment, which the buckets do not say.
// members is not empty. A selector lists at most maxIDs of them (0: 200), or as many as
// the operator takes where not each of them is markable: can be given a label.
func guess(name string, members map[string]bool, all fleetLabels, maxIDs int, markable bool) (sel eventlog.Selector, how string) {
	ids := slices.Sorted(maps.Keys(members))
	common := maps.Clone(all[ids[0]])
	for _, d := range ids[1:] {
		for k, v := range common {
			if w, ok := all[d][k]; !ok || w != v {
				delete(common, k)
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(common)) {
		if one := map[string]string{k: common[k]}; all.exact(members, one) {
			return eventlog.Selector{MatchLabels: one}, ByLabels
		}
	}
	if len(common) > 1 && all.exact(members, common) {
		return eventlog.Selector{MatchLabels: common}, ByLabels
	}
	if r, ok := all.byOneKey(members, ids); ok {
		return eventlog.Selector{MatchExpressions: []eventlog.SelectorRequirement{r}}, ByLabels
	}
	byIDs := eventlog.Selector{MatchExpressions: []eventlog.SelectorRequirement{{Key: v1alpha1.LabelDevice, Operator: "In", Values: ids}}}
	if len(ids) <= cmp.Or(maxIDs, defaultMaxIDs) || !markable && len(selectorText(byIDs)) <= decide.MaxSelector {
		return byIDs, ByIDs
	}
	return eventlog.Selector{MatchLabels: map[string]string{markingPrefix + name: "true"}}, ByMarking
}

// exact says whether labels select the members and nobody else.
func (all fleetLabels) exact(members map[string]bool, want map[string]string) bool {
	for d, has := range all {
		selected := true
		for k, v := range want {
			w, ok := has[k]
			selected = selected && ok && w == v
		}
		if selected != members[d] {
			return false
		}
	}
	return true
}

// byOneKey finds a label whose values part the members from all others.
func (all fleetLabels) byOneKey(members map[string]bool, ids []string) (eventlog.SelectorRequirement, bool) {
	for _, k := range slices.Sorted(maps.Keys(all[ids[0]])) {
		values := map[string]bool{}
		for _, d := range ids {
			v, ok := all[d][k]
			if !ok || len(values) > maxValues {
				values = nil
				break
			}
			values[v] = true
		}
		if len(values) == 0 || len(values) > maxValues {
			continue
		}
		exact := true
		for d, has := range all {
			if v, ok := has[k]; ok && !members[d] && values[v] {
				exact = false
				break
			}
		}
		if exact {
			return eventlog.SelectorRequirement{Key: k, Operator: "In", Values: slices.Sorted(maps.Keys(values))}, true
		}
	}
	return eventlog.SelectorRequirement{}, false
}

// selectorText is a selector as JSON, which is the same for equal selectors.
func selectorText(s eventlog.Selector) string {
	b, err := json.Marshal(s)
	if err != nil {
		return "" // strings in maps and lists can be written
	}
	return string(b)
}
