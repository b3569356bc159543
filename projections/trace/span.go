// Package trace derives the spans of changes from the events of the log: what a change
// consists of, and where its time went. It is pure.
package trace

import (
	"time"

	"fleet.nationtech.io/projections/fleet"
)

// Kind is what a span is of.
type Kind string

// The kinds of spans, from the outermost to the innermost.
const (
	KindChange Kind = "change" // from a Deployment's new spec until its run came to an end
	KindBatch  Kind = "batch"  // from a batch's start until it was judged
	KindDevice Kind = "device" // from the assignment until the device reported what came of it
	KindStep   Kind = "step"   // what the agent did to a service
	KindReady  Kind = "ready"  // from the last start of a service until the device said that it runs
	KindReport Kind = "report" // from what a report tells until the log has it
)

// Outcome is how a span ended.
type Outcome string

// The outcomes.
const (
	Succeeded  Outcome = "succeeded"
	Failed     Outcome = "failed"
	RolledBack Outcome = "rolled back"
	Aborted    Outcome = "aborted"
	Superseded Outcome = "superseded" // something newer took its place
	Unfinished Outcome = "unfinished" // what it is part of ended before it did, or it goes on
)

// Span is one part of a change. Its ids follow from the events, so that each reader of
// the log derives the same ones.
type Span struct {
	TraceID [16]byte
	ID      [8]byte
	Parent  [8]byte // zero: it has none

	Kind       Kind
	Name       string
	Begin, End time.Time // by the log's clock
	Outcome    Outcome
	Reason     string
	Message    string
	// Adjusted says that the device's clock differs from the log's: the span lies where it
	// can have been, and is as long as the device said.
	Adjusted bool
	Notes    []Note // what happened meanwhile

	Deployment fleet.Key
	Revision   uint64
	Run        uint64 // sequence of the run's rollout.started; 0: none
	Batch      int
	Device     string
	Service    string
	Actor      string
	Sequence   uint64 // of the event by which it ended; 0: it goes on
}

// Took is how long it took.
func (s *Span) Took() time.Duration { return s.End.Sub(s.Begin) }

// Wrong says whether the span tells of something that went wrong.
func (s *Span) Wrong() bool {
	return s.Outcome == Failed || s.Outcome == RolledBack || s.Outcome == Aborted
}

// Note is something that happened in the course of a span.
type Note struct {
	At      time.Time
	Name    string
	Message string
}

// maxNotes bounds the notes of a span; what comes after is left out.
const maxNotes = 64

// clockSlack is by how much a device's clock may differ without a word.
const clockSlack = 100 * time.Millisecond

// place puts a stretch, which somebody's clock told, between two moments of the log's. Its
// length stays as it is, as far as there is room.
func place(begin, end, from, to time.Time) (b, e time.Time, adjusted bool) {
	if to.Before(from) {
		to = from
	}
	took := max(0, end.Sub(begin))
	e = end
	if e.After(to) {
		e = to
	}
	if b = e.Add(-took); b.Before(from) {
		b = from
		if e = b.Add(took); e.After(to) {
			e = to
		}
	}
	return b, e, e.Sub(end).Abs() > clockSlack
}
