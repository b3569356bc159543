package timeline

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

// Record is an event on its way into a history.
type Record struct {
	eventlog.Event
	foreign  error
	At       time.Time // on the history's axis
	happened time.Time // zero: ask the event
}

// PositionOf is where in the log, and when, an event stands.
func PositionOf(r Record) Position {
	at := r.happened
	if at.IsZero() {
		at = r.EventTime()
	}
	return Position{Sequence: r.Sequence, Time: at.UTC(), Recorded: r.Recorded.UTC()}
}

// Each gives the events to fold in the order of the axis, without what a device
// sent twice. It fails with the first error that is not ErrForeign.
func (o Options) Each(events iter.Seq2[eventlog.Event, error], fold func(Record)) error {
	var all []Record
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
		r := Record{Event: e, foreign: err, At: e.Recorded}
		if !o.AsHappened {
			fold(r)
			continue
		}
		r.happened, r.Header = e.EventTime(), nil
		r.At = r.happened
		if !e.Address.Family.OfDevices() {
			// Among these the log's order is the order of cause and effect.
			if r.At.Before(latest) {
				r.At = latest
			}
			latest = r.At
		}
		if o.Until.IsZero() || !r.At.After(o.Until) {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b Record) int { return a.At.Compare(b.At) })
	for _, r := range all {
		fold(r)
	}
	return nil
}

// Fold puts an event into a view and says whether the view understood it. By
// the other axis the order is not the log's, and the view is given numbers that
// rise: what the records say of their sequence stays true.
func (o Options) Fold(v *fleet.View, r Record) bool {
	e, family := r.Event, r.Address.Family
	if o.AsHappened {
		e.Sequence, e.Counter, v.Renumbered = v.Sequence+1, eventlog.Counter{}, true
	}
	before := v.Foreign[family]
	fleet.Apply(v, e, r.foreign)
	return r.foreign == nil && v.Foreign[family] == before
}

// WithoutDigits is a text without its digits.
func WithoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}
