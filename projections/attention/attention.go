// Package attention lists what in a fleet needs a person, why, and the command that
// helps. It is pure; the command line and the dashboard show the same list.
package attention

import (
	"cmp"
	"slices"
	"time"

	"fleet.nationtech.io/projections/fleet"
)

// Of lists what needs a person at a moment, the heaviest first. It looks at each device
// and each Deployment once, and once more at each device for a Deployment whose score is
// filled in for it. The view and the facts are only read. For a moment of the past, now
// is that moment and facts is zero: what is known of the servers is known of the present alone.
func Of(view *fleet.View, now time.Time, facts Facts) []Item {
	l := &list{now: now, facts: facts}
	l.platform()
	l.devices(view)
	l.deployments(view)
	l.budgets(view)
	out := l.items
	for _, kind := range deviceKinds() {
		for _, items := range alike(kind, l.perDevice[kind]) {
			out = append(out, l.together(kind, items)...)
		}
	}
	slices.SortFunc(out, compare)
	return out
}

// MaxSingle is how many devices are listed one by one for one reason. Beyond that one item
// speaks of all of them, so that the list stays short in a fleet where a whole site is
// down.
const MaxSingle = 10

// maxExamples is how many devices an item names.
const maxExamples = 5

// list is what was found so far.
type list struct {
	now       time.Time
	facts     Facts
	known     int // devices that are the fleet's
	labels    map[*fleet.Device]map[string]string
	items     []Item
	perDevice map[Kind][]Item // items about one device each
}

func (l *list) add(i Item) { l.items = append(l.items, i) }

// device notes something about one device.
func (l *list) device(i Item) {
	if l.perDevice == nil {
		l.perDevice = map[Kind][]Item{}
	}
	i.Devices, i.Examples = 1, []string{i.Name}
	l.perDevice[i.Kind] = append(l.perDevice[i.Kind], i)
}

// compare puts the heaviest first: by severity, then by kind, by the number of devices,
// by age, and by name. No two items are equal.
func compare(a, b Item) int {
	return cmp.Or(
		cmp.Compare(b.Severity, a.Severity),
		cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)),
		cmp.Compare(b.Devices, a.Devices),
		a.Since.Compare(b.Since),
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.Title, b.Title),
		cmp.Compare(a.Reason, b.Reason),
	)
}
