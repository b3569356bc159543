package verify

import (
	"encoding/binary"
	"hash/maphash"
	"strings"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
)

// seed is of this process alone, so that nobody can prepare two messages that
// hash alike.
var seed = maphash.MakeSeed()

// entry is a message as a bucket should have it: from where in its source, and
// hashes of its bytes. Millions are kept, so it is small.
type entry struct {
	sequence     uint64 // in the source
	header, data uint64
}

// entryOf makes the entry of a message of the source, or of a bucket's message
// with the sequence that it was taken from. What the server does to the header of
// a message that it sources is left out on both sides.
func entryOf(sequence uint64, h nats.Header, data []byte) entry {
	e := entry{sequence: sequence, data: maphash.Bytes(seed, data)}
	for name, values := range h {
		if !own(name) {
			continue
		}
		e.header += hashField(name, values) // a sum, as the names come in no order
	}
	return e
}

func hashField(name string, values []string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	write := func(s string) {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(s)))
		_, _ = h.Write(size[:]) // a hash takes all
		_, _ = h.WriteString(s)
	}
	write(name)
	for _, v := range values {
		write(v)
	}
	return h.Sum64()
}

// own says whether a header is the message's own in a bucket too. A server takes
// those by which an append was checked off what it sources, and puts its own
// Nats-Stream-Source there (nats-server, stream.go, processInboundSourceMsg).
func own(name string) bool {
	return name != eventlog.HeaderStreamSource && !strings.HasPrefix(name, "Nats-Expected-") && !strings.HasPrefix(name, "Nats-Batch-")
}

// ledger is what one bucket should have: of each subject of its source the last
// message.
type ledger struct {
	projection eventlog.Projection
	last       map[string]entry // by the subject in the source
}

func newLedger(p eventlog.Projection) *ledger {
	return &ledger{projection: p, last: map[string]entry{}}
}

func (l *ledger) put(subject string, e entry) { l.last[subject] = e }
