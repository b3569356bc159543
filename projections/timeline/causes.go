package timeline

import (
	"slices"
	"strconv"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// CauseSubjects matches the events by which an event may have been caused, and the
// event itself.
func CauseSubjects(e eventlog.Event) []string {
	const any1 = eventlog.Wildcard
	a := e.Address
	key := fleet.Key{Namespace: e.Namespace, Name: a.Deployment}
	if a.Device == "" {
		key = fleet.Key{Namespace: a.Namespace, Name: a.Name}
	}
	var out []string
	if a.Device != "" {
		out = DeviceSubjects(a.Device)
	}
	switch {
	case a.Family == eventlog.FamilyBudget, a.Family == eventlog.FamilyRequest && a.Device != "":
		return append(out, e.Subject)
	case key.Name == "" && a.Device != "":
		return out
	case key.Name == "":
		return []string{e.Subject}
	case key.Namespace == "": // a device's report does not say it
		key.Namespace = any1
	}
	return append(out, eventlog.DeploymentSubject(key.Namespace, key.Name), eventlog.RequestSubject(any1, key.Namespace, key.Name))
}

// Causes gives the chain of events that led to one, the first cause first, without
// itself. before are the events of its CauseSubjects, in the log's order: an event's cause
// is the one that it names, and a report's is the assignment that it speaks of. The chain
// begins with the first event whose cause is not among them.
func Causes(before []eventlog.Event, of eventlog.Event) []eventlog.Event {
	byID := map[string]int{}
	for i, e := range before {
		if _, taken := byID[e.ID]; e.ID != "" && !taken {
			byID[e.ID] = i
		}
	}
	var chain []eventlog.Event
	for e := of; ; {
		i, ok := byID[e.CausationID]
		if e.CausationID == "" || !ok {
			i, ok = bySequence(before, e)
		}
		// A cause is always earlier, so that a chain ends.
		if !ok || before[i].Sequence >= e.Sequence {
			break
		}
		e = before[i]
		chain = append(chain, e)
	}
	slices.Reverse(chain)
	return chain
}

// CauseSequence is the sequence of the event that an event names as its cause by that: a
// report its assignment, and what answers a report that report. It is 0 where an event names
// its cause by an id, or none.
func CauseSequence(e eventlog.Event) uint64 {
	if _, at, ok := strings.Cut(e.CausationID, "@"); ok {
		if n, err := strconv.ParseUint(at, 10, 64); err == nil && n < e.Sequence {
			return n
		}
		return 0
	}
	if e.Type != eventlog.StateReported {
		return 0
	}
	if s, err := e.State(); err == nil && s.Assignment < e.Sequence {
		return s.Assignment
	}
	return 0
}

// bySequence finds the cause of an event that names a sequence: a report its assignment,
// and what answers a report that report.
func bySequence(all []eventlog.Event, e eventlog.Event) (int, bool) {
	want := CauseSequence(e)
	if want == 0 {
		return 0, false
	}
	return slices.BinarySearchFunc(all, want, func(e eventlog.Event, want uint64) int {
		switch {
		case e.Sequence < want:
			return -1
		case e.Sequence > want:
			return 1
		}
		return 0
	})
}
