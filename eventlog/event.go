// Package eventlog is the contract of the fleet's event log: the names of subjects,
// streams, buckets and keys, the event types with their envelope and payloads, and
// how a stored message is read as an event. It dials nobody.
package eventlog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/eventlog/plainjson"
	"github.com/nats-io/nats.go"
)

// Event is one message of the log, decoded. The header of the envelope is
// CloudEvents 1.0 in binary mode; what the families that plain KV clients write
// lack is filled in from the subject.
type Event struct {
	Sequence uint64    // of the stream
	Recorded time.Time // when the log learned it: the stream's own timestamp
	Subject  string
	Address  Address // Subject, parsed
	Type     Type
	Version  int

	ID            string
	Source        string
	Time          time.Time // when it happened, by the writer's clock; Recorded where the writer did not say
	CorrelationID string
	CausationID   string
	Actor         string
	Traceparent   string

	Namespace string // of the Deployment: desired events
	Revision  uint64 // of the Deployment: desired events
	Batch     int    // of the run that gave it, from 1: desired events; 0 outside of a run
	// Template is the hash of the score from which Data was rendered for the device:
	// desired events; empty where Data is that score.
	Template string
	Counter  Counter

	Data []byte

	// Header is as the log stores it, nil where there is none. It is shared with
	// the message: anyone who changes it changes that.
	Header nats.Header

	// HeaderBytes is what the headers weigh, of what devices write: they can
	// fill the log by those too.
	HeaderBytes int
}

// Counter numbers what one agent sends to the log. Epoch is random, made with
// the agent's store; N rises by one and survives restarts. The zero Counter is
// that of a client that does not number.
type Counter struct {
	Epoch string
	N     uint64
}

// String is the form of the header Fleet-N.
func (c Counter) String() string { return c.Epoch + "." + strconv.FormatUint(c.N, 10) }

func parseCounter(s string) (Counter, bool) {
	epoch, n, ok := strings.Cut(s, ".")
	if !ok || epoch == "" || len(epoch) > 32 {
		return Counter{}, false
	}
	v, err := strconv.ParseUint(n, 10, 64)
	if err != nil || v == 0 {
		return Counter{}, false
	}
	return Counter{Epoch: epoch, N: v}, true
}

// ErrForeign says that a message's subject, type and payload do not agree, or
// that its payload cannot be decoded. A fold skips and counts it; it never stops
// anything.
var ErrForeign = errors.New("foreign message")

// Headers of the envelope (CloudEvents 1.0, NATS protocol binding, binary mode)
// and our own.
const (
	HeaderSpecVersion   = "ce-specversion"
	HeaderID            = "ce-id"
	HeaderSource        = "ce-source"
	HeaderType          = "ce-type"
	HeaderTime          = "ce-time"
	HeaderCorrelationID = "ce-correlationid"
	HeaderCausationID   = "ce-causationid"
	HeaderActor         = "ce-actor"
	HeaderTraceparent   = "traceparent"

	HeaderCounter   = "Fleet-N"
	HeaderNamespace = "Fleet-Namespace"
	HeaderRevision  = "Fleet-Revision"
	HeaderBatch     = "Fleet-Batch"
	HeaderTemplate  = "Fleet-Template"
	HeaderSync      = "Fleet-Sync"
	HeaderKey       = "Fleet-Key"

	HeaderKVOperation  = "KV-Operation"
	HeaderStreamSource = "Nats-Stream-Source"

	KVDelete    = "DEL"
	kvPurge     = "PURGE"
	specVersion = "1.0"
)

// Decode reads a message of the log: subject, header, sequence and timestamp as
// the stream gave them. It does not look into the payload, so that folding costs
// only what the fold asks for: see Payload. A message whose subject and type do
// not agree gives ErrForeign, together with all that could be read of it.
func Decode(subject string, h nats.Header, data []byte, sequence uint64, recorded time.Time) (Event, error) {
	e := Event{Sequence: sequence, Recorded: recorded, Subject: subject, Time: recorded, Version: 1, Data: data, Header: h}
	err := e.Decode()
	return e, err
}

// Decode fills in what follows from subject and header of a stored message. It
// fails with ErrForeign.
func (e *Event) Decode() error {
	addr, err := ParseSubject(e.Subject)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	e.Address = addr
	said := e.readHeader()
	if said.copied != "" {
		return fmt.Errorf("%w: it stores header %s, which a server adds to a message that it hands out: it is a copy", ErrForeign, said.copied)
	}
	if said.time != "" {
		t, err := plainjson.ParseTime(said.time)
		if err != nil {
			return fmt.Errorf("%w: header %s %q is not RFC 3339", ErrForeign, HeaderTime, said.time)
		}
		e.Time = t
	}
	if said.counter != "" {
		e.Counter, _ = parseCounter(said.counter) // a bad number is no number: the report still counts
	}
	return e.settleType(said)
}

// rawHeaders are the header's values that have to be understood before they are
// part of an event.
type rawHeaders struct {
	typ, time, counter, namespace, revision, batch, template string

	removal bool
	copied  string // the header by which the message is known as a copy
}

// readHeader looks at each field of the header once: asking it for a dozen names
// would take longer than all else that reading an event does.
func (e *Event) readHeader() (said rawHeaders) {
	weighed := e.Address.Family.OfDevices()
	for name, values := range e.Header {
		if weighed {
			for _, v := range values {
				e.HeaderBytes += len(name) + len(v)
			}
		}
		if len(values) == 0 {
			continue
		}
		v := values[0]
		switch name {
		case HeaderID:
			e.ID = v
		case HeaderSource:
			e.Source = v
		case HeaderCorrelationID:
			e.CorrelationID = v
		case HeaderCausationID:
			e.CausationID = v
		case HeaderActor:
			e.Actor = v
		case HeaderTraceparent:
			e.Traceparent = v
		case HeaderType:
			said.typ = v
		case HeaderTime:
			said.time = v
		case HeaderCounter:
			said.counter = v
		case HeaderNamespace:
			said.namespace = v
		case HeaderRevision:
			said.revision = v
		case HeaderBatch:
			said.batch = v
		case HeaderTemplate:
			said.template = v
		case HeaderKVOperation:
			said.removal = v == KVDelete || v == kvPurge
		case HeaderStream, HeaderSubject, HeaderSequence:
			// A server checks no reply subject: anyone who may ask for a stored message in
			// account FLEET can have the answer stored as an event. No append has these.
			said.copied = max(said.copied, name)
		}
	}
	return said
}

// settleType settles the event's type. The families info and state may come
// from plain KV clients, so there the subject and the KV operation decide, and
// a type that says otherwise makes the message foreign.
func (e *Event) settleType(said rawHeaders) error {
	if said.typ != "" {
		t, v, f, ok := lookUpType(said.typ)
		if !ok {
			return fmt.Errorf("%w: header %s %q is none of the fleet's types", ErrForeign, HeaderType, said.typ)
		}
		e.Type, e.Version = t, v
		if f != "" && f != e.Address.Family {
			return fmt.Errorf("%w: type %s does not belong on a subject of family %s", ErrForeign, t, e.Address.Family)
		}
	}
	var plain Type
	switch e.Address.Family {
	case FamilyState:
		plain = StateReported
		if said.removal {
			plain = StateCleared
		}
	case FamilyInfo:
		plain = InfoReported
		if said.removal {
			plain = InfoCleared
		}
	case FamilyDesired:
		if said.revision != "" {
			r, err := strconv.ParseUint(said.revision, 10, 64)
			if err != nil {
				return fmt.Errorf("%w: header %s %q is not a number", ErrForeign, HeaderRevision, said.revision)
			}
			e.Revision = r
		}
		if said.batch != "" {
			n, err := strconv.Atoi(said.batch)
			if err != nil || n < 1 {
				return fmt.Errorf("%w: header %s %q is not a batch's number", ErrForeign, HeaderBatch, said.batch)
			}
			e.Batch = n
		}
		if said.template != "" && !IsHash(said.template) {
			return fmt.Errorf("%w: header %s %q is not a hash", ErrForeign, HeaderTemplate, said.template)
		}
		e.Template = said.template
		e.Namespace = said.namespace
		if e.Type.Removes() != said.removal {
			return fmt.Errorf("%w: type %q and header %s do not agree", ErrForeign, e.Type, HeaderKVOperation)
		}
	}
	if plain != "" {
		if e.Type == "" {
			e.Type = plain
		}
		if e.Type != plain {
			return fmt.Errorf("%w: type %q and header %s do not agree", ErrForeign, e.Type, HeaderKVOperation)
		}
		return nil
	}
	if e.Type == "" {
		return fmt.Errorf("%w: no header %s", ErrForeign, HeaderType)
	}
	return nil
}

// HeaderValue is the first value of a header, whose key is spelt exactly so; empty
// without one.
func HeaderValue(h nats.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Check decodes an event's payload as its type demands and compares the names in
// it with the subject's. It fails with ErrForeign. Types that this version does
// not know pass, and so do newer versions of those that it knows: they come from
// a newer writer.
func Check(e Event) error {
	switch e.Type {
	case StateReported:
		s, err := Payload[DeploymentState](e)
		if err != nil {
			return err
		}
		return s.check(&e.Address)
	case InfoReported:
		i, err := Payload[DeviceInfo](e)
		if err != nil {
			return err
		}
		return i.check(&e.Address)
	case DesiredAssigned:
		if _, err := DecodeScore(e.Data); err != nil {
			return fmt.Errorf("%w: %w", ErrForeign, err)
		}
		return nil
	}
	if e.Type.Removes() {
		if len(e.Data) != 0 {
			return fmt.Errorf("%w: %s carries a payload", ErrForeign, e.Type)
		}
		return nil
	}
	p := payloadOf(e.Type)
	if p == nil {
		return nil
	}
	if err := decodeInto(e, p); !errors.Is(err, ErrNewer) {
		return err
	}
	return nil
}

// Position is a message of the log: its sequence, and when it was recorded, by
// which it is told from another that took its place. The zero Position is before
// the first.
type Position struct {
	Sequence uint64
	Recorded time.Time
}
