package eventlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Draft is an event that has been decided and not yet appended. It has no id:
// the Appender gives it one, once, and keeps it for retries.
type Draft struct {
	Subject       string
	Type          Type
	Version       int       // of the payload; 0 means the newest
	Time          time.Time // when it happened
	CorrelationID string
	CausationID   string
	Actor         string
	Traceparent   string
	Namespace     string // desired events
	Revision      uint64 // desired events
	Batch         int    // desired events: the batch of the run that gave it; 0 outside of one
	Template      string // desired events: the hash of the score from which Data was rendered; empty where Data is that score
	Data          []byte
}

// NewDraft encodes payload (nil for none), in its type's newest shape, as the data
// of an event.
func NewDraft(subject string, t Type, at time.Time, payload any) (Draft, error) {
	d := Draft{Subject: subject, Type: t, Time: at}
	if payload == nil {
		return d, nil
	}
	// Without the escapes that HTML needs: a score within must keep the very bytes
	// that its hash is of.
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(payload); err != nil {
		return d, fmt.Errorf("encode %s: %w", t, err)
	}
	d.Data = bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
	return d, nil
}

// Size is what a draft weighs, but for what all events' envelopes have.
func (d *Draft) Size() int {
	return len(d.Subject) + len(d.Data) + len(d.CorrelationID) + len(d.CausationID) + len(d.Actor) + len(d.Traceparent) + len(d.Namespace) + len(d.Template)
}

// Message makes the message that is appended: the envelope in headers, the data
// as payload. id is a ULID and also deduplicates.
func (d Draft) Message(source, id string) *nats.Msg {
	e := Envelopes{Source: source}
	return e.Message(&d, id)
}

// Envelopes makes the messages of one append. Most of what they say is the same,
// so a header's value is kept and shared with the next message; anyone who changes
// a header of a message puts another value in its place.
type Envelopes struct {
	Source string
	last   [lastOperation + 1][]string // the values, in the order of the headers below

	at      time.Time // and what two of them were made of
	typ     Type
	version int
	revised uint64
	batched int
}

const (
	lastSpecVersion = iota
	lastSource
	lastType
	lastTime
	lastCorrelationID
	lastCausationID
	lastActor
	lastTraceparent
	lastNamespace
	lastRevision
	lastBatch
	lastTemplate
	lastOperation
)

// Message makes the message of one draft, as Draft.Message does.
func (e *Envelopes) Message(d *Draft, id string) *nats.Msg {
	version := d.Version
	if version == 0 {
		version = d.Type.Version()
	}
	if e.typ != d.Type || e.version != version {
		e.typ, e.version, e.last[lastType] = d.Type, version, []string{CloudEventType(d.Type, version)}
	}
	if e.last[lastTime] == nil || !e.at.Equal(d.Time) {
		e.at, e.last[lastTime] = d.Time, []string{d.Time.UTC().Format(time.RFC3339Nano)}
	}
	if e.revised != d.Revision {
		e.revised, e.last[lastRevision] = d.Revision, []string{strconv.FormatUint(d.Revision, 10)}
	}
	if e.batched != d.Batch {
		e.batched, e.last[lastBatch] = d.Batch, []string{strconv.Itoa(d.Batch)}
	}
	h := make(nats.Header, 16)
	set := func(k string, i int, v string) {
		if v == "" {
			return
		}
		if len(e.last[i]) == 0 || e.last[i][0] != v {
			e.last[i] = []string{v}
		}
		h[k] = e.last[i]
	}
	own := []string{id}
	h[HeaderID], h[jetstream.MsgIDHeader] = own, own
	h[HeaderType], h[HeaderTime] = e.last[lastType], e.last[lastTime]
	set(HeaderSpecVersion, lastSpecVersion, specVersion)
	set(HeaderSource, lastSource, e.Source)
	set(HeaderCorrelationID, lastCorrelationID, d.CorrelationID)
	set(HeaderCausationID, lastCausationID, d.CausationID)
	set(HeaderActor, lastActor, d.Actor)
	set(HeaderTraceparent, lastTraceparent, d.Traceparent)
	set(HeaderNamespace, lastNamespace, d.Namespace)
	if d.Revision > 0 {
		h[HeaderRevision] = e.last[lastRevision]
	}
	if d.Batch > 0 {
		h[HeaderBatch] = e.last[lastBatch]
	}
	set(HeaderTemplate, lastTemplate, d.Template)
	if d.Type.Removes() {
		set(HeaderKVOperation, lastOperation, KVDelete)
	}
	return &nats.Msg{Subject: d.Subject, Header: h, Data: d.Data}
}
