package history

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// DeploymentSubjects matches all that OfDeployment wants of the log: the
// Deployment, what it is assigned to and what they report, whether they are
// online, and what persons asked.
func DeploymentSubjects(key fleet.Key) []string {
	const any1 = eventlog.Wildcard
	return []string{
		eventlog.DeploymentSubject(key.Namespace, key.Name),
		eventlog.RequestSubject(any1, key.Namespace, key.Name),
		eventlog.DesiredSubject(any1, key.Name),
		eventlog.StateSubject(any1, key.Name),
		eventlog.DeviceSubject(any1),
		eventlog.AccessSubject(any1), // a device that left reports again once it is allowed
	}
}

// DeviceSubjects matches all that OfDevice wants of the log.
func DeviceSubjects(device string) []string {
	const any1 = eventlog.Wildcard
	return []string{
		eventlog.DeviceSubject(device), eventlog.InfoSubject(device), eventlog.DesiredSubject(device, any1),
		eventlog.StateSubject(device, any1), eventlog.AgentSubject(device), eventlog.CommandSubject(device),
		eventlog.AccessSubject(device), eventlog.AuthSubject(device), eventlog.DeviceRequestSubject(any1, device),
	}
}

// record is an event on its way into a history.
type record struct {
	eventlog.Event
	foreign  error
	at       time.Time // on the history's axis
	happened time.Time // zero: ask the event
}

func placeOf(r record) Place {
	at := r.happened
	if at.IsZero() {
		at = r.Happened()
	}
	return Place{Sequence: r.Sequence, Time: at.UTC(), Recorded: r.Recorded.UTC()}
}

// each gives the events to fold in the order of the axis, without what a device
// sent twice. It fails with the first error that is not ErrForeign.
func (o Options) each(events iter.Seq2[eventlog.Event, error], fold func(record)) error {
	var all []record
	seen := map[[2]string]uint64{} // device and epoch, to the last number
	var latest time.Time           // of what the operator and persons say
	for e, err := range events {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return fmt.Errorf("read the log: %w", err)
		}
		if c := e.Counter; c.Epoch != "" {
			id := [2]string{e.Address.Device, c.Epoch}
			if c.N <= seen[id] {
				continue
			}
			seen[id] = c.N
		}
		r := record{Event: e, foreign: err, at: e.Recorded}
		if !o.AsHappened {
			fold(r)
			continue
		}
		r.happened, r.Header = e.Happened(), nil
		r.at = r.happened
		if !e.Address.Family.OfDevices() {
			// Among these the log's order is the order of cause and effect.
			if r.at.Before(latest) {
				r.at = latest
			}
			latest = r.at
		}
		if o.Until.IsZero() || !r.at.After(o.Until) {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b record) int { return a.at.Compare(b.at) })
	for _, r := range all {
		fold(r)
	}
	return nil
}

// fold puts an event into a view and says whether the view understood it. By
// the other axis the order is not the log's, and the view is given numbers that
// rise: what the records say of their sequence stays true.
func (o Options) fold(v *fleet.View, r record) bool {
	e, family := r.Event, r.Address.Family
	if o.AsHappened {
		e.Sequence, e.Counter = v.Sequence+1, eventlog.Counter{}
	}
	before := v.Foreign[family]
	fleet.Apply(v, e, r.foreign)
	return r.foreign == nil && v.Foreign[family] == before
}

// uncounted is a text without its digits.
func uncounted(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}
