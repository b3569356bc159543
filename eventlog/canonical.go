package eventlog

import (
	"encoding/binary"
	"slices"

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
