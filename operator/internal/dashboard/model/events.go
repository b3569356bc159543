package model

import (
	"cmp"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/timeline"
)

// Events is a part of the list of the log's events, the newest first.
type Events struct {
	Moment Moment     `json:"moment"`
	Events []EventRow `json:"events"`
	// Older and Newer are the sequences from which the list goes on in both directions; 0: there
	// is no more.
	Older uint64 `json:"older,omitempty"`
	Newer uint64 `json:"newer,omitempty"`
	// Partial says that the part ended early, for the search took long.
	Partial bool `json:"partial"`
}

// EventRow is one event in a list.
type EventRow struct {
	Sequence   uint64        `json:"sequence"`
	Recorded   time.Time     `json:"recorded"` // when the log got it
	Occurred   time.Time     `json:"occurred"` // when it happened, by the clock of who wrote it
	Type       eventlog.Type `json:"type"`
	Namespace  string        `json:"namespace,omitempty"`
	Deployment string        `json:"deployment,omitempty"`
	Device     string        `json:"device,omitempty"`
	Budget     string        `json:"budget,omitempty"`
	Text       string        `json:"text"`           // what it carries, in words
	Tone       timeline.Tone `json:"tone,omitempty"` // well, wrong or odd
	Who        string        `json:"who,omitempty"`
	// Cause is the sequence of the event that caused it, where that is at hand; Caused says that
	// it names one.
	Cause  uint64 `json:"cause,omitempty"`
	Caused bool   `json:"caused,omitempty"`
	// Foreign says why the message is no event of the fleet.
	Foreign string `json:"foreign,omitempty"`
	// Depth is how many steps an effect is from its cause.
	Depth int `json:"depth,omitempty"`

	id, causation string
}

// minLate is how much later the log must have got an event for a page to say so.
const minLate = 2 * time.Second

// Late is how much later the log got the event than it happened; 0: it is not worth a word.
func (r EventRow) Late() time.Duration {
	if late := r.Recorded.Sub(r.Occurred); late >= minLate {
		return late
	}
	return 0
}

// EventRowOf shows an event in a list. foreign is the error that decoding it gave, or nil.
func EventRowOf(e *eventlog.Event, foreign error) EventRow {
	r := EventRow{
		Sequence: e.Sequence, Recorded: e.Recorded.UTC(), Occurred: e.EventTime().UTC(), Type: e.Type,
		Namespace: cmp.Or(e.Address.Namespace, e.Namespace), Deployment: e.Address.Deployment, Device: e.Address.Device,
		Text: bounded(timeline.Summary(*e, time.UTC), maxText), Tone: timeline.ToneOf(*e), Who: bounded(cmp.Or(e.Actor, e.Address.User), maxText),
		Cause: timeline.CauseSequence(*e), id: e.ID, causation: e.CausationID,
	}
	switch e.Address.Family {
	case eventlog.FamilyDeployment, eventlog.FamilyRequest:
		r.Deployment = e.Address.Name
	case eventlog.FamilyBudget:
		r.Budget = e.Address.Name
	}
	if e.Type == eventlog.DeploymentApplied {
		if p, err := eventlog.Payload[eventlog.Deployment](*e); err == nil {
			r.Who = bounded(timeline.Requester(p).String(), maxText)
		}
	}
	r.Caused = r.Cause > 0 || r.causation != ""
	if foreign != nil {
		r.Foreign, r.Tone = bounded(foreign.Error(), maxText), timeline.Odd
	}
	return r
}

// EventsOf makes the list: rows are the newest first. The causes that are among them are found.
func EventsOf(m Moment, rows []EventRow) Events {
	ids := map[string]uint64{}
	for _, r := range rows {
		if r.id != "" {
			ids[r.id] = r.Sequence // the first one of that id, as the oldest comes last
		}
	}
	for i := range rows {
		r := &rows[i]
		if at := ids[r.causation]; r.Cause == 0 && r.causation != "" && at < r.Sequence {
			r.Cause = at
		}
	}
	if rows == nil {
		rows = []EventRow{}
	}
	return Events{Moment: m, Events: rows}
}
