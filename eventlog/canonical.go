package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// AppendCanonical appends the one form of an event's message that seals are made
// over, so that anybody who can read the message can make the same bytes. Numbers
// are big-endian; a string is its length in bytes, in four, and then its bytes:
//
//	8 bytes   sequence in the log
//	8 bytes   when the log recorded it: nanoseconds since 1970-01-01 UTC, signed
//	string    subject
//	4 bytes   how many header fields follow
//	          for each name, ascending by its bytes:
//	string      name, in its own spelling
//	4 bytes     how many values
//	string      each value, in the order in which they came
//	string    data
//
// A message without header has no fields: 0. Header is what the log stores, as a
// consumer delivers it and as the stream's leader gives it (see Authoritative).
// A direct read puts headers of its own beside it (Nats-Stream, Nats-Subject and
// others), so what it gives has another form.
func (e Event) AppendCanonical(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, e.Sequence)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Recorded.UnixNano()))
	dst = appendString(dst, e.Subject)
	dst = appendHeader(dst, e.Header)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.Data)))
	return append(dst, e.Data...)
}

func appendHeader(dst []byte, h nats.Header) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(h)))
	var room [24]string // most headers have fewer, so the names need no memory of their own
	names := room[:0]
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := h[name]
		dst = appendString(dst, name)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(values)))
		for _, v := range values {
			dst = appendString(dst, v)
		}
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// ErrNotCanonical says that bytes are not the canonical form of a message.
var ErrNotCanonical = errors.New("not the canonical form of a message")

// ParseCanonical reads a canonical form back. What it accepts has that one form:
// appending it gives the same bytes. It fails with ErrNotCanonical; a foreign
// message comes with an error that wraps ErrForeign, as from Decode.
func ParseCanonical(b []byte) (Event, error) {
	p := canonical{rest: b}
	sequence, nanos, subject := p.uint64(), int64(p.uint64()), p.text()
	var h nats.Header
	last := ""
	for n := p.uint32(); n > 0 && !p.bad; n-- {
		name := p.text()
		values := []string{}
		for v := p.uint32(); v > 0 && !p.bad; v-- {
			values = append(values, p.text())
		}
		if h == nil {
			h = nats.Header{}
		} else if name <= last {
			p.bad = true
		}
		h[name], last = values, name
	}
	data := []byte(p.text())
	if p.bad || len(p.rest) > 0 {
		return Event{}, fmt.Errorf("%w: %d bytes", ErrNotCanonical, len(b))
	}
	return Decode(subject, h, data, sequence, time.Unix(0, nanos))
}

// canonical reads from the front of rest. Once it is bad it stays so.
type canonical struct {
	rest []byte
	bad  bool
}

func (p *canonical) take(n int) []byte {
	if p.bad || n > len(p.rest) {
		p.bad, p.rest = true, nil
		return make([]byte, 8)
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *canonical) uint64() uint64 { return binary.BigEndian.Uint64(p.take(8)) }

func (p *canonical) uint32() uint32 { return binary.BigEndian.Uint32(p.take(4)) }

func (p *canonical) text() string {
	n := p.uint32()
	if uint64(n) > uint64(len(p.rest)) {
		p.bad = true
		return ""
	}
	return string(p.take(int(n)))
}
