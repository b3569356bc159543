package timeline

import (
	"slices"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// EffectSubjects matches the events that an event may lead to.
func EffectSubjects(e eventlog.Event) []string {
	const any1 = eventlog.Wildcard
	a := e.Address
	switch {
	case a.Device != "":
		out := DeviceSubjects(a.Device)
		if a.Deployment == "" {
			return out
		}
		namespace := e.Namespace
		if namespace == "" { // a device's report does not say it
			namespace = any1
		}
		return append(out, eventlog.DeploymentSubject(namespace, a.Deployment))
	case a.Name != "" && a.Family != eventlog.FamilyBudget:
		all := DeploymentSubjects(fleet.Key{Namespace: a.Namespace, Name: a.Name})
		return slices.DeleteFunc(all, func(s string) bool { // what devices do by themselves
			return s == eventlog.DeviceSubject(any1) || s == eventlog.AccessSubject(any1)
		})
	}
	return []string{e.Subject}
}

// Effects finds the events that one led to, and those that these led to.
type Effects struct {
	ids       map[string]int // of the event and of its effects, to their depth
	sequences map[uint64]int
}

// NewEffects begins with an event.
func NewEffects(of eventlog.Event) *Effects {
	f := &Effects{ids: map[string]int{}, sequences: map[uint64]int{}}
	f.keep(of, 0)
	return f
}

func (f *Effects) keep(e eventlog.Event, depth int) {
	f.sequences[e.Sequence] = depth
	if _, taken := f.ids[e.ID]; e.ID != "" && !taken {
		f.ids[e.ID] = depth
	}
}

// Add takes the next event of the log and says how many steps it is from the first one: 1 where
// that is its cause, and 0 where it is none of the effects.
func (f *Effects) Add(e eventlog.Event) (depth int) {
	before, ok := f.ids[e.CausationID]
	if !ok {
		before, ok = f.sequences[CauseSequence(e)]
	}
	if !ok {
		return 0
	}
	f.keep(e, before+1)
	return before + 1
}
