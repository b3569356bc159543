package reader

import (
	"strconv"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/plainjson"
	"github.com/nats-io/nats.go"
)

// handed are the headers that a server adds to each message of a batch of direct
// gets, behind those that the message stores (nats-server, stream.go,
// getDirectRequest).
var handed = [...]string{
	eventlog.HeaderStream, eventlog.HeaderSubject, eventlog.HeaderSequence,
	eventlog.HeaderTimestamp, eventlog.HeaderPending, eventlog.HeaderLastSequence,
}

// entry is one message of a batch.
type entry struct {
	msg     *nats.Msg // with the subject and the header that the stream stores
	at      delivery
	before  uint64 // the sequence of the message before it in the batch; 0 for the first
	pending uint64 // how many come after it
}

// entryOf reads one message of a batch. It is false where the server's own headers
// cannot be told for certain from what the message stores: a device with a client of
// its own can write a header behind which a client reads no further, and headers of
// these names before that. Then the stream's leader is asked.
func entryOf(m *nats.Msg, stream string) (entry, bool) {
	if !wholeHeader(m) {
		return entry{}, false
	}
	var said [len(handed)]string
	for i, name := range handed {
		values := m.Header[name]
		if len(values) == 0 {
			return entry{}, false
		}
		said[i] = values[len(values)-1]
		if len(values) > 1 {
			m.Header[name] = values[:len(values)-1] // the message stores it
		} else {
			delete(m.Header, name)
		}
	}
	if said[0] != stream {
		return entry{}, false // it ran into a line that the message does not end
	}
	if len(m.Header) == 0 {
		m.Header = nil
	}
	var e entry
	var errs [4]error
	e.at.sequence, errs[0] = strconv.ParseUint(said[2], 10, 64)
	recorded, err := plainjson.ParseTime(said[3])
	errs[1] = err
	e.pending, errs[2] = strconv.ParseUint(said[4], 10, 64)
	e.before, errs[3] = strconv.ParseUint(said[5], 10, 64)
	for _, err := range errs {
		if err != nil {
			return entry{}, false
		}
	}
	e.at.recorded = time.Unix(0, recorded.UnixNano())
	m.Subject = said[1]
	e.msg = m
	return e, true
}

// maxHeaderLines bounds the header of which wholeHeader is certain. Each line can lack
// two bytes, and what the server adds has more than twice as many as this.
const maxHeaderLines = 50

// wholeHeader says whether what was decoded of a header is all of it: the bytes that
// came are those of its fields. So nothing stands behind what a client has read.
func wholeHeader(m *nats.Msg) bool {
	const line, frame = len(": \r\n"), len("NATS/1.0\r\n\r\n")
	size, lines := frame, 0
	for name, values := range m.Header {
		for _, v := range values {
			size += len(name) + len(v) + line
			lines++
		}
	}
	came := m.Size() - len(m.Subject) - len(m.Reply) - len(m.Data)
	// A client may leave out the space, and the carriage return.
	return lines <= maxHeaderLines && came <= size && came >= size-2*lines
}

// status is a server's own word in place of a message: how a batch ended, or why
// there is none.
type status struct {
	code, text string
	last       uint64 // the sequence of the batch's last message
	pending    uint64 // how many come after it
}

// statusOf reads a server's own word. A message that stores headers like those has
// the server's headers of a message besides.
func statusOf(m *nats.Msg) (status, bool) {
	s := status{code: eventlog.HeaderValue(m.Header, "Status"), text: eventlog.HeaderValue(m.Header, "Description")}
	if s.code == "" || len(m.Data) > 0 || m.Header[eventlog.HeaderSequence] != nil {
		return s, false
	}
	// The first line carries what is decoded as two fields.
	came := m.Size() - len(m.Subject) - len(m.Reply)
	size := len("NATS/1.0 ") + len(s.code) + len("\r\n\r\n")
	if s.text != "" {
		size += len(" ") + len(s.text)
	}
	for name, values := range m.Header {
		if len(values) != 1 {
			return s, false
		}
		if name != "Status" && name != "Description" {
			size += len(name) + len(values[0]) + len(": \r\n")
		}
	}
	if came != size || len(m.Header) > maxHeaderLines {
		return s, false
	}
	var err error
	if s.code == endOfBatch {
		if s.last, err = strconv.ParseUint(eventlog.HeaderValue(m.Header, eventlog.HeaderLastSequence), 10, 64); err != nil {
			return s, false
		}
		if s.pending, err = strconv.ParseUint(eventlog.HeaderValue(m.Header, eventlog.HeaderPending), 10, 64); err != nil {
			return s, false
		}
	}
	return s, true
}

const (
	endOfBatch = "204"
	notFound   = "404"
)
