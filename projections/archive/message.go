package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	natsarc "github.com/nats-io/nats-server/v2/server/archive"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// chunkBytes is after how much of the log a chunk ends. It belongs to the format:
// anyone who changes it makes other chunks of the same log.
const chunkBytes = 4 << 20

// maxChunk bounds what a chunk that may be damaged makes this program read.
const maxChunk = 2*chunkBytes + logstream.MaxMessageBytes

// message is one of the log, as the server's snapshot has it.
type message struct {
	subject  string
	sequence uint64
	nanos    int64 // since 1970-01-01 UTC
	header   []byte
	data     []byte
}

func (m message) size() int { return len(m.subject) + len(m.header) + len(m.data) }

// event decodes it. The error is an ErrForeign, as of eventlog.Decode.
func (m message) event() (eventlog.Event, error) {
	var h nats.Header
	at := time.Unix(0, m.nanos).UTC()
	if len(m.header) > 0 {
		var err error
		if h, err = nats.DecodeHeadersMsg(m.header); err != nil {
			e, _ := eventlog.Decode(m.subject, nil, m.data, m.sequence, at)
			return e, fmt.Errorf("%w: header: %w", eventlog.ErrForeign, err)
		}
	}
	return eventlog.Decode(m.subject, h, m.data, m.sequence, at)
}

// packer writes the server's format and cuts it into chunks. The parts that it
// gives, compressed and put together, are a snapshot.
type packer struct {
	plain   bytes.Buffer
	entries *natsarc.Writer
	first   uint64 // sequences in plain
	last    uint64
}

func newPacker() *packer {
	p := &packer{}
	p.entries = natsarc.NewWriter(&p.plain)
	return p
}

// begin writes what stands before the messages, and gives it.
func (p *packer) begin(state []byte, at time.Time) ([]byte, error) {
	h := natsarc.Header{Name: "state.json", Timestamp: at.UnixNano(), PayloadSize: int64(len(state))}
	if err := p.write(&h, state); err != nil {
		return nil, err
	}
	return p.cut()
}

// add takes a message. full says that a chunk is to be cut.
func (p *packer) add(m message) (full bool, err error) {
	if p.first == 0 {
		p.first = m.sequence
	}
	p.last = m.sequence
	h := natsarc.Header{
		Name: m.subject, Sequence: m.sequence, Timestamp: m.nanos, HeaderSize: int64(len(m.header)), PayloadSize: int64(len(m.data)),
	}
	if err := p.write(&h, m.header, m.data); err != nil {
		return false, err
	}
	return p.plain.Len() >= chunkBytes, nil
}

// end writes what stands after the messages, and gives it.
func (p *packer) end() ([]byte, error) {
	if err := p.write(&natsarc.Header{}); err != nil {
		return nil, err
	}
	return p.cut()
}

func (p *packer) write(h *natsarc.Header, parts ...[]byte) error {
	if err := p.entries.WriteHeader(h); err != nil {
		return err
	}
	for _, b := range parts {
		if _, err := p.entries.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// cut compresses what was written since the last cut. It forgets it, and the
// sequences.
func (p *packer) cut() ([]byte, error) {
	var out bytes.Buffer
	w := s2.NewWriter(&out, s2.WriterBetterCompression(), s2.WriterConcurrency(1))
	if _, err := w.Write(p.plain.Bytes()); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	p.plain.Reset()
	p.first, p.last = 0, 0
	return out.Bytes(), nil
}

var errAfterEnd = errors.New("it goes on after its end")

// unpack gives the messages of a chunk in their order, until yield fails.
func unpack(chunk []byte, yield func(message) error) error {
	r := natsarc.NewReader(io.MultiReader(strings.NewReader(natsarc.MagicBytes), s2.NewReader(bytes.NewReader(chunk))))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Sequence == 0 || h.HeaderSize+h.PayloadSize > maxChunk {
			return fmt.Errorf("%q is no message of the log", h.Name)
		}
		body := make([]byte, h.HeaderSize+h.PayloadSize)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		m := message{subject: h.Name, sequence: h.Sequence, nanos: h.Timestamp, header: body[:h.HeaderSize:h.HeaderSize], data: body[h.HeaderSize:]}
		if err := yield(m); err != nil {
			return err
		}
	}
}

// edges checks the chunks before and after the messages, and gives the state that
// the first one carries.
func edges(start, end []byte) (state []byte, err error) {
	r := natsarc.NewReader(s2.NewReader(io.MultiReader(bytes.NewReader(start), bytes.NewReader(end))))
	h, err := r.Next()
	if err != nil {
		return nil, err
	}
	if h.Name != "state.json" || h.HeaderSize != 0 || h.PayloadSize > maxChunk {
		return nil, fmt.Errorf("%q stands where the stream's state should", h.Name)
	}
	state = make([]byte, h.PayloadSize)
	if _, err := io.ReadFull(r, state); err != nil {
		return nil, err
	}
	h, err = r.Next()
	if err != nil {
		return nil, err
	}
	if *h != (natsarc.Header{}) {
		return nil, fmt.Errorf("%q stands where the end should", h.Name)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		return nil, errAfterEnd
	}
	return state, nil
}
