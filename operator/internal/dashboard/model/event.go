package model

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/viewdiff"
)

// Bounds of what a page of one event shows of what others wrote, in bytes.
const (
	maxText    = 1 << 10
	maxPayload = 64 << 10
	maxHeaders = 50 // lines
)

// Event is one event of the log, with what led to it and what it led to.
type Event struct {
	Moment Moment   `json:"moment"`
	Event  EventRow `json:"event"`

	Subject       string        `json:"subject"`
	ID            string        `json:"id,omitempty"`
	Source        string        `json:"source,omitempty"`
	CorrelationID string        `json:"correlation_id,omitempty"`
	CausationID   string        `json:"causation_id,omitempty"`
	TraceID       string        `json:"trace_id,omitempty"` // 32 hexadecimal digits (W3C Trace Context)
	Headers       []EventHeader `json:"headers"`
	// Payload is what the event carries: JSON with an indent, another text as it is, and what is
	// none as base64. PayloadBytes is how much there is of it, and Cut says that this is not all.
	Payload      string `json:"payload"`
	PayloadBytes int    `json:"payload_bytes"`
	Cut          bool   `json:"cut,omitempty"`

	// Causes is the chain that led to it, the first cause first.
	Causes []EventRow `json:"causes"`
	// Unread says why the chain is not there.
	Unread string `json:"unread,omitempty"`
	// Effects are the events that it led to, and those that these led to, in the log's order.
	Effects []EventRow `json:"effects"`
	// Looked is how many events after it were looked through for effects, and MoreEffects that
	// there may be others.
	Looked      int  `json:"looked"`
	MoreEffects bool `json:"more_effects,omitempty"`

	// Changes are in what the fleet differs just after it from just before; MoreChanges is how
	// many are left out.
	Changes     []viewdiff.Change `json:"changes"`
	MoreChanges int               `json:"more_changes,omitempty"`
	// Unfolded says why it is not known what it changed.
	Unfolded string `json:"unfolded,omitempty"`
}

// EventHeader is a line of an event's header.
type EventHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// shownChanges is how many changes a page of an event has.
const shownChanges = 50

// EventOf shows an event by itself. foreign is the error that decoding it gave, or nil.
func EventOf(m Moment, e eventlog.Event, foreign error) Event {
	out := Event{
		Moment: m, Event: EventRowOf(&e, foreign), Subject: e.Subject, ID: bounded(e.ID, maxText), Source: bounded(e.Source, maxText),
		CorrelationID: bounded(e.CorrelationID, maxText), CausationID: bounded(e.CausationID, maxText), TraceID: e.TraceID(), Headers: []EventHeader{},
		PayloadBytes: len(e.Data), Causes: []EventRow{}, Effects: []EventRow{}, Changes: []viewdiff.Change{},
	}
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		for _, v := range e.Header[name] {
			if len(out.Headers) < maxHeaders {
				out.Headers = append(out.Headers, EventHeader{bounded(name, maxText), bounded(v, maxText)})
			}
		}
	}
	out.Payload, out.Cut = payloadText(e.Data)
	return out
}

// SetCauses puts the chain of causes on the page.
func (e *Event) SetCauses(chain []eventlog.Event) {
	for i := range chain {
		e.Causes = append(e.Causes, EventRowOf(&chain[i], nil))
	}
	if n := len(e.Causes); n > 0 {
		e.Event.Cause = e.Causes[n-1].Sequence
	}
}

// AddEffect adds an effect, so many steps away.
func (e *Event) AddEffect(effect *eventlog.Event, foreign error, depth int) {
	r := EventRowOf(effect, foreign)
	r.Depth = depth
	e.Effects = append(e.Effects, r)
}

// SetChanges puts what the event changed on the page.
func (e *Event) SetChanges(all []viewdiff.Change) {
	e.MoreChanges = max(0, len(all)-shownChanges)
	e.Changes = append(e.Changes, all[:len(all)-e.MoreChanges]...)
}

// payloadText shows a payload; cut says that it is not all of it.
func payloadText(b []byte) (text string, cut bool) {
	var out bytes.Buffer
	switch {
	case json.Indent(&out, b, "", "  ") == nil && len(b) <= maxPayload:
		text = out.String()
	case utf8.Valid(b):
		text = string(b)
	default:
		text = base64.StdEncoding.EncodeToString(b)
	}
	if len(text) <= 2*maxPayload {
		return text, false
	}
	return bounded(text, maxPayload), true
}

// bounded is the beginning of a text, with how long it is where that is not all.
func bounded(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s … (%d bytes in all)", s[:end], len(s))
}
