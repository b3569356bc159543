package decide

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// labelTerm is a label, or (with every set) a key with whatever value.
type labelTerm struct {
	key, value string
	every      bool
}

// deviceIndex finds the devices that carry a label.
type deviceIndex map[labelTerm]map[string]struct{}

func (x deviceIndex) put(id string, ls labels.Set) {
	for k, v := range ls {
		for _, t := range [...]labelTerm{{k, v, false}, {k, "", true}} {
			if x[t] == nil {
				x[t] = map[string]struct{}{}
			}
			x[t][id] = struct{}{}
		}
	}
}

func (x deviceIndex) drop(id string, ls labels.Set) {
	for k, v := range ls {
		for _, t := range [...]labelTerm{{k, v, false}, {k, "", true}} {
			delete(x[t], id)
			if len(x[t]) == 0 {
				delete(x, t)
			}
		}
	}
}

// selectorIndex finds the Deployments that a label can concern: the inverted
// index of selectors. Each Deployment hangs on the terms of one requirement that
// a device must fulfil to match; those without such a requirement are asked
// about every device.
type selectorIndex struct {
	byTerm     map[labelTerm]map[fleet.Key]struct{}
	unanchored map[fleet.Key]struct{}
}

func newSelectorIndex() selectorIndex {
	return selectorIndex{byTerm: map[labelTerm]map[fleet.Key]struct{}{}, unanchored: map[fleet.Key]struct{}{}}
}

func (x selectorIndex) put(key fleet.Key, sel labels.Selector) {
	terms := anchor(sel)
	if len(terms) == 0 {
		if !isNothing(sel) {
			x.unanchored[key] = struct{}{}
		}
		return
	}
	for _, t := range terms {
		if x.byTerm[t] == nil {
			x.byTerm[t] = map[fleet.Key]struct{}{}
		}
		x.byTerm[t][key] = struct{}{}
	}
}

func (x selectorIndex) drop(key fleet.Key, sel labels.Selector) {
	delete(x.unanchored, key)
	for _, t := range anchor(sel) {
		delete(x.byTerm[t], key)
		if len(x.byTerm[t]) == 0 {
			delete(x.byTerm, t)
		}
	}
}

// candidates adds the Deployments whose selectors a device with these labels
// may match.
func (x selectorIndex) candidates(into map[fleet.Key]struct{}, ls labels.Set) {
	maps.Copy(into, x.unanchored)
	for k, v := range ls {
		maps.Copy(into, x.byTerm[labelTerm{k, v, false}])
		maps.Copy(into, x.byTerm[labelTerm{k, "", true}])
	}
}

// anchor gives the terms of the most telling requirement: one of them must be on
// every device that matches. None, when the selector only excludes.
func anchor(sel labels.Selector) []labelTerm {
	reqs, selectable := sel.Requirements()
	if !selectable {
		return nil
	}
	var exists []labelTerm
	for _, r := range reqs {
		switch r.Operator() {
		case selection.In, selection.Equals, selection.DoubleEquals:
			var terms []labelTerm
			for _, v := range r.ValuesUnsorted() {
				terms = append(terms, labelTerm{r.Key(), v, false})
			}
			return terms
		case selection.Exists:
			if exists == nil {
				exists = []labelTerm{{r.Key(), "", true}}
			}
		}
	}
	return exists
}

func isNothing(sel labels.Selector) bool {
	_, selectable := sel.Requirements()
	return !selectable
}

// matching gives the ids of the devices that a selector matches, sorted, so that
// the same decision is the same events. A device that leaves the fleet matches
// nothing.
func (s *State) matching(sel labels.Selector) []string {
	var ids []string
	consider := func(id string) {
		if s.selects(sel, id) && !s.out(id) {
			ids = append(ids, id)
		}
	}
	switch terms := s.shortest(sel); {
	case terms != nil:
		for _, t := range terms {
			for id := range s.byLabel[t] {
				consider(id)
			}
		}
	case !isNothing(sel):
		for id := range s.devices {
			consider(id)
		}
	}
	slices.Sort(ids)
	return ids
}

// shortest picks the requirement with the fewest devices behind it.
func (s *State) shortest(sel labels.Selector) []labelTerm {
	reqs, _ := sel.Requirements()
	var best []labelTerm
	least := -1
	for _, r := range reqs {
		var terms []labelTerm
		switch r.Operator() {
		case selection.In, selection.Equals, selection.DoubleEquals:
			for _, v := range r.ValuesUnsorted() {
				terms = append(terms, labelTerm{r.Key(), v, false})
			}
		case selection.Exists:
			terms = []labelTerm{{r.Key(), "", true}}
		default:
			continue
		}
		n := 0
		for _, t := range terms {
			n += len(s.byLabel[t])
		}
		if least < 0 || n < least {
			best, least = terms, n
		}
	}
	return best
}

// deviceLabels is a device's effective labels, with and without their owners.
type deviceLabels struct {
	set   labels.Set
	owned map[string]eventlog.OwnedLabel
}

// selects says whether a selector selects a device by its labels.
func (s *State) selects(sel labels.Selector, id string) bool {
	ls := s.devices[id]
	return ls != nil && sel.Matches(ls.set)
}
