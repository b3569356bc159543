package decide

import (
	"iter"
	"maps"

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

// deviceIndex finds the devices that carry a label: by its key, its value and their ids.
type deviceIndex map[string]map[string]map[string]*deviceLabels

func (x deviceIndex) put(id string, ls *deviceLabels) {
	for k, v := range ls.set {
		values := x[k]
		if values == nil {
			values = map[string]map[string]*deviceLabels{}
			x[k] = values
		}
		devices := values[v]
		if devices == nil {
			devices = map[string]*deviceLabels{}
			values[v] = devices
		}
		devices[id] = ls
	}
}

func (x deviceIndex) drop(id string, ls *deviceLabels) {
	for k, v := range ls.set {
		delete(x[k][v], id)
		if len(x[k][v]) == 0 {
			delete(x[k], v)
		}
		if len(x[k]) == 0 {
			delete(x, k)
		}
	}
}

// carry iterates over the devices that carry a label, one value at a time.
func (x deviceIndex) carry(t labelTerm) iter.Seq[map[string]*deviceLabels] {
	if t.every {
		return maps.Values(x[t.key])
	}
	return func(yield func(map[string]*deviceLabels) bool) { yield(x[t.key][t.value]) }
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

// matching gives the ids of the devices that a selector matches, in no order. A device that
// leaves the fleet matches nothing.
func (s *State) matching(sel labels.Selector) iter.Seq[string] {
	return func(yield func(string) bool) {
		among := func(devices map[string]*deviceLabels) bool {
			for id, ls := range devices {
				if sel.Matches(ls.set) && !s.out(id) && !yield(id) {
					return false
				}
			}
			return true
		}
		switch terms := s.shortest(sel); {
		case terms != nil:
			for _, t := range terms {
				for devices := range s.byLabel.carry(t) {
					if !among(devices) {
						return
					}
				}
			}
		case !isNothing(sel):
			among(s.devices)
		}
	}
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
			for devices := range s.byLabel.carry(t) {
				n += len(devices)
			}
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
