package eventlog

import (
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
	Version       int       // 0 means 1
	Time          time.Time // when it happened
	CorrelationID string
	CausationID   string
	Actor         string
	Traceparent   string
	Namespace     string // desired events
	Revision      uint64 // desired events
	Data          []byte
}

// NewDraft encodes payload (nil for none) as the data of an event.
func NewDraft(subject string, t Type, at time.Time, payload any) (Draft, error) {
	d := Draft{Subject: subject, Type: t, Time: at}
	if payload == nil {
		return d, nil
	}
	b, err := json.Marshal(payload)
	if err != nil {
		return d, fmt.Errorf("encode %s: %w", t, err)
	}
	d.Data = b
	return d, nil
}

// Message makes the message that is appended: the envelope in headers, the data
// as payload. id is a ULID and also deduplicates.
func (d Draft) Message(source, id string) *nats.Msg {
	v := d.Version
	if v == 0 {
		v = 1
	}
	h := make(nats.Header, 10)
	set := func(k, v string) {
		if v != "" {
			h[k] = []string{v}
		}
	}
	set(HeaderSpecVersion, specVersion)
	set(HeaderID, id)
	set(jetstream.MsgIDHeader, id)
	set(HeaderSource, source)
	set(HeaderType, CloudEventType(d.Type, v))
	set(HeaderTime, d.Time.UTC().Format(time.RFC3339Nano))
	set(HeaderCorrelationID, d.CorrelationID)
	set(HeaderCausationID, d.CausationID)
	set(HeaderActor, d.Actor)
	set(HeaderTraceparent, d.Traceparent)
	set(HeaderNamespace, d.Namespace)
	if d.Revision > 0 {
		set(HeaderRevision, strconv.FormatUint(d.Revision, 10))
	}
	if d.Type.Removes() {
		set(HeaderKVOperation, kvDelete)
	}
	return &nats.Msg{Subject: d.Subject, Header: h, Data: d.Data}
}
