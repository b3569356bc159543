package eventlog

import (
	"encoding/json"
	"time"
)

// EventTime is when an event happened, which for what a device reports can be long
// before the log learned it: by the envelope's time, else by the payload's, as
// plain KV clients write it. A report cannot have happened after the log learned
// of it, so a clock that is fast is not believed: it is never later than
// Recorded, and that where nobody said.
func (e Event) EventTime() time.Time {
	if HeaderValue(e.Header, HeaderTime) != "" {
		return e.EventTimeFrom(e.Time)
	}
	var said struct {
		LastEventAt time.Time `json:"last_event_at"`
		UpdatedAt   time.Time `json:"updated_at"`
		At          time.Time `json:"at"`
	}
	switch e.Type.Family() {
	case FamilyState, FamilyInfo, FamilyAgent:
		if len(e.Data) == 0 || json.Unmarshal(e.Data, &said) != nil {
			return e.Recorded
		}
	}
	switch e.Type.Family() {
	case FamilyState:
		return e.EventTimeFrom(said.LastEventAt)
	case FamilyInfo:
		return e.EventTimeFrom(said.UpdatedAt)
	case FamilyAgent:
		return e.EventTimeFrom(said.At)
	}
	return e.Recorded
}

// EventTimeFrom is Happened for who has decoded the payload, and knows the time in
// it; the zero time says nothing.
func (e Event) EventTimeFrom(said time.Time) time.Time {
	if HeaderValue(e.Header, HeaderTime) != "" {
		said = e.Time
	}
	if said.IsZero() || said.After(e.Recorded) {
		return e.Recorded
	}
	return said
}
