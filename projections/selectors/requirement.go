// Package selectors holds label selectors against the labels of a device, and says
// which requirements are not met. It is pure.
package selectors

import (
	"maps"
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
)

// The operators of a selector, in Kubernetes' own words.
const (
	opIn           = "In"
	opNotIn        = "NotIn"
	opExists       = "Exists"
	opDoesNotExist = "DoesNotExist"
)

// Requirements gives all that a selector wants, sorted: matchLabels are
// requirements with one value.
func Requirements(s eventlog.Selector) []eventlog.SelectorRequirement {
	var out []eventlog.SelectorRequirement
	for _, k := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		out = append(out, eventlog.SelectorRequirement{Key: k, Operator: opIn, Values: []string{s.MatchLabels[k]}})
	}
	return append(out, s.MatchExpressions...)
}

// Unmet gives the requirements that labels do not meet. A selector that wants
// nothing selects nothing: the operator refuses it (InvalidSelector).
func Unmet(s eventlog.Selector, labels map[string]string) []eventlog.SelectorRequirement {
	var out []eventlog.SelectorRequirement
	for _, r := range Requirements(s) {
		if !meets(r, labels) {
			out = append(out, r)
		}
	}
	return out
}

// Selects says whether a selector selects a device with these labels.
func Selects(s eventlog.Selector, labels map[string]string) bool {
	return len(s.MatchLabels)+len(s.MatchExpressions) > 0 && len(Unmet(s, labels)) == 0
}

func meets(r eventlog.SelectorRequirement, labels map[string]string) bool {
	value, there := labels[r.Key]
	switch r.Operator {
	case opIn:
		return there && slices.Contains(r.Values, value)
	case opNotIn:
		return !there || !slices.Contains(r.Values, value)
	case opExists:
		return there
	case opDoesNotExist:
		return !there
	}
	return false
}

// SelectorText is a selector as kubectl writes it: site=lab,zone in (a,b),!old.
func SelectorText(s eventlog.Selector) string {
	var parts []string
	for _, r := range Requirements(s) {
		parts = append(parts, requirementText(r))
	}
	if len(parts) == 0 {
		return "<none>"
	}
	return strings.Join(parts, ",")
}

func requirementText(r eventlog.SelectorRequirement) string {
	values := slices.Sorted(slices.Values(r.Values))
	switch r.Operator {
	case opIn:
		if len(values) == 1 {
			return r.Key + "=" + values[0]
		}
		return r.Key + " in (" + strings.Join(values, ",") + ")"
	case opNotIn:
		if len(values) == 1 {
			return r.Key + "!=" + values[0]
		}
		return r.Key + " notin (" + strings.Join(values, ",") + ")"
	case opExists:
		return r.Key
	case opDoesNotExist:
		return "!" + r.Key
	}
	return strings.TrimSpace(r.Key + " " + r.Operator + " " + strings.Join(values, ","))
}

// UnmetText says why labels do not meet a requirement.
func UnmetText(r eventlog.SelectorRequirement, labels map[string]eventlog.OwnedLabel) string {
	l, there := labels[r.Key]
	if !there {
		return "it has no label " + r.Key + ", and the selector wants " + requirementText(r)
	}
	return "its label " + OwnedText(r.Key, l) + " does not satisfy " + requirementText(r)
}

// OwnedText is a label with whose it is.
func OwnedText(key string, l eventlog.OwnedLabel) string {
	switch l.Owner {
	case "":
		return key + "=" + l.Value
	case eventlog.OwnerDevice:
		return key + "=" + l.Value + " (reported by the device)"
	}
	return key + "=" + l.Value + " (set by " + l.Owner + ")"
}

// Bare are the labels without their owners.
func Bare(labels map[string]eventlog.OwnedLabel) map[string]string {
	out := make(map[string]string, len(labels))
	for k, l := range labels {
		out[k] = l.Value
	}
	return out
}
