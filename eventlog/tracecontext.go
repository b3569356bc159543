package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// TraceContext says to which trace something belongs, and which span caused it: what
// the header traceparent carries (W3C Trace Context, level 1).
type TraceContext struct {
	TraceID [16]byte // not zero
	SpanID  [8]byte  // of the parent; not zero
	Flags   byte
}

// FlagSampled says that somebody records the trace (W3C Trace Context, section 3.2.2.5.1).
const FlagSampled byte = 1

// Sampled says whether somebody records the trace.
func (c TraceContext) Sampled() bool { return c.Flags&FlagSampled != 0 }

// traceparentLength is that of version 00: "00-", 32 digits, "-", 16 digits, "-", 2 digits.
const traceparentLength = 55

// String is the value of the header traceparent, in version 00.
func (c TraceContext) String() string {
	b := make([]byte, 0, traceparentLength)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, c.TraceID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, c.SpanID[:])
	b = append(b, '-')
	return string(hex.AppendEncode(b, []byte{c.Flags}))
}

// ParseTraceContext reads the value of a header traceparent. A newer version is read as
// version 00, as W3C Trace Context, section 3.2.4, wants it.
func ParseTraceContext(s string) (TraceContext, error) {
	var c TraceContext
	var version [1]byte
	var flags [1]byte
	switch {
	case len(s) < traceparentLength:
		return c, fmt.Errorf("traceparent %q has %d characters, and a traceparent has at least %d", s, len(s), traceparentLength)
	case s[2] != '-' || s[35] != '-' || s[52] != '-':
		return c, fmt.Errorf("traceparent %.80q is not of the form 00-TRACE-SPAN-FLAGS", s)
	case !lowerHex(s[:2], version[:]) || !lowerHex(s[3:35], c.TraceID[:]) || !lowerHex(s[36:52], c.SpanID[:]) || !lowerHex(s[53:55], flags[:]):
		return c, fmt.Errorf("traceparent %.80q has characters other than 0-9 and a-f in its fields", s)
	case version[0] == 0xff:
		return c, errors.New("traceparent has version ff, which W3C Trace Context forbids")
	case version[0] == 0 && len(s) != traceparentLength, len(s) > traceparentLength && s[traceparentLength] != '-':
		return c, fmt.Errorf("traceparent %.80q goes on after its flags", s)
	case c.TraceID == [16]byte{}:
		return c, errors.New("traceparent has a trace id of zeros, which W3C Trace Context forbids")
	case c.SpanID == [8]byte{}:
		return c, errors.New("traceparent has a parent id of zeros, which W3C Trace Context forbids")
	}
	c.Flags = flags[0]
	return c, nil
}

// ParseTraceID reads a trace id of 32 hexadecimal digits, which are not all zeros (W3C Trace Context,
// section 3.2.2.3). Digits in upper case are read as those in lower case, as a person may type them.
func ParseTraceID(s string) (id [16]byte, err error) {
	switch {
	case len(s) != 2*len(id) || !lowerHex(strings.ToLower(s), id[:]):
		return id, fmt.Errorf("trace id %.80q is not of 32 hexadecimal digits", s)
	case id == [16]byte{}:
		return id, errors.New("trace id has zeros alone, which W3C Trace Context forbids")
	}
	return id, nil
}

// TraceID is the id of the trace that the event names, as 32 hexadecimal digits; empty: it names none.
// It is the word of whoever wrote the event.
func (e *Event) TraceID() string {
	if c, err := ParseTraceContext(e.Traceparent); err == nil {
		return hex.EncodeToString(c.TraceID[:])
	}
	return ""
}

// lowerHex decodes digits in lower case, the only ones that the specification allows.
func lowerHex(s string, into []byte) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(into, []byte(s))
	return err == nil
}

// TraceOfChange is the context of a change that nobody gave one: a Deployment's resource
// in one generation. It follows from what identifies the change, so that each replica
// comes to the same one, also after a crash between two events.
func TraceOfChange(uid string, generation int64) TraceContext {
	return traceOf("change", uid, strconv.FormatInt(generation, 10))
}

// TraceOfRestart is the context of a run that begins after its change was through, such as
// of `fleetctl rollout restart`. cause is the event because of which it begins, and before
// the run that it follows.
func TraceOfRestart(uid, cause string, before uint64) TraceContext {
	return traceOf("run", uid, cause, strconv.FormatUint(before, 10))
}

// TraceOfDelete is the context of a Deployment's deletion: of what is withdrawn because of it, and
// of what devices report of that. uid is that of the resource which the log knew, and applied the
// sequence of the last deployment.applied: a resource may come back, and be deleted again.
func TraceOfDelete(uid string, applied uint64) TraceContext {
	return traceOf("delete", uid, strconv.FormatUint(applied, 10))
}

func traceOf(what ...string) TraceContext {
	sum := digest("trace", what)
	c := TraceContext{TraceID: [16]byte(sum[:16]), Flags: FlagSampled}
	if c.TraceID == [16]byte{} {
		c.TraceID[15] = 1
	}
	c.SpanID = c.Span("root", what...)
	return c
}

// Span derives the id of a span of the trace from what identifies it there.
func (c TraceContext) Span(kind string, what ...string) [8]byte {
	sum := digest("span", append([]string{string(c.TraceID[:]), kind}, what...))
	id := [8]byte(sum[:8])
	if id == [8]byte{} {
		id[7] = 1
	}
	return id
}

// OfAssignment is the context of a desired event of the trace: its span is the parent of
// all that the device does because of it. hash is that of the event's data. The event's
// cause is left out: whether a device comes to match by a label or by the spec may depend
// on what a replica looks at first.
func (c TraceContext) OfAssignment(subject string, t Type, revision uint64, batch int, hash string) TraceContext {
	c.SpanID = c.Span("device", subject, string(t), strconv.FormatUint(revision, 10), strconv.Itoa(batch), hash)
	return c
}

// digest is SHA-256 over texts, each with its length before it.
func digest(kind string, what []string) [sha256.Size]byte {
	b := make([]byte, 0, 512)
	b = append(binary.BigEndian.AppendUint64(b, uint64(len(kind))), kind...)
	for _, text := range what {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(text))), text...)
	}
	return sha256.Sum256(b)
}
