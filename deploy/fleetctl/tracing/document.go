package tracing

import (
	"encoding/hex"
	"time"

	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/trace"
)

// Document is a change as its spans, for programs.
type Document struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Revision  uint64   `json:"revision"`
	TraceID   string   `json:"trace_id"` // 32 hexadecimal digits (W3C Trace Context)
	Runs      []uint64 `json:"runs,omitempty"`
	Until     uint64   `json:"until"` // sequence of the log up to which events count
	Spans     []Span   `json:"spans"` // a span comes after those that it holds

	spans []trace.Span
}

// Span is one part of a change. Times are by the log's clock.
type Span struct {
	ID     string     `json:"span_id"` // 16 hexadecimal digits
	Parent string     `json:"parent_span_id,omitempty"`
	Kind   trace.Kind `json:"kind"`
	Name   string     `json:"name"`

	Began   time.Time     `json:"began"`
	Ended   time.Time     `json:"ended"` // where it goes on: the time of the last event
	Took    float64       `json:"took_seconds"`
	Open    bool          `json:"open,omitempty"` // it goes on
	Outcome trace.Outcome `json:"outcome"`
	Reason  string        `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
	// ClockAdjusted says that the device's clock differs from the log's.
	ClockAdjusted bool   `json:"clock_adjusted,omitempty"`
	Notes         []Note `json:"notes,omitempty"`

	Run      uint64 `json:"run,omitempty"` // sequence of the run's rollout.started
	Batch    int    `json:"batch,omitempty"`
	Device   string `json:"device,omitempty"`
	Service  string `json:"service,omitempty"`
	Actor    string `json:"actor,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"` // of the event by which it ended
}

// Note is something that happened in the course of a span.
type Note struct {
	At      time.Time `json:"at"`
	Type    string    `json:"type"`
	Message string    `json:"message,omitempty"`
}

func newDocument(key fleet.Key, of trace.Extent, until uint64) *Document {
	return &Document{
		Namespace: key.Namespace, Name: key.Name, Revision: of.Revision, Runs: of.Runs,
		TraceID: hex.EncodeToString(of.TraceID[:]), Until: until, Spans: []Span{},
	}
}

// add takes spans of the change, and leaves out those of others.
func (d *Document) add(spans []trace.Span) {
	for i := range spans {
		s := &spans[i]
		if hex.EncodeToString(s.TraceID[:]) != d.TraceID {
			continue
		}
		d.spans = append(d.spans, *s)
		d.Spans = append(d.Spans, spanOf(s))
	}
}

func spanOf(s *trace.Span) Span {
	out := Span{
		ID: hex.EncodeToString(s.ID[:]), Kind: s.Kind, Name: s.Name,
		Began: s.Begin, Ended: s.End, Took: s.Took().Seconds(), Open: s.Sequence == 0,
		Outcome: s.Outcome, Reason: s.Reason, Message: s.Message, ClockAdjusted: s.Adjusted,
		Run: s.Run, Batch: s.Batch, Device: s.Device, Service: s.Service, Actor: s.Actor, Sequence: s.Sequence,
	}
	if s.Parent != [8]byte{} {
		out.Parent = hex.EncodeToString(s.Parent[:])
	}
	for _, n := range s.Notes {
		out.Notes = append(out.Notes, Note{At: n.At, Type: n.Name, Message: n.Message})
	}
	return out
}
