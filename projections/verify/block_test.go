package verify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/minio/highwayhash"

	"fleet.nationtech.io/eventlog/natstest"
)

// block is a message block of a stopped server, taken apart (nats-server 2.15,
// filestore.go, writeMsgRecordLocked): length with the header bit, sequence,
// time, length of the subject, subject, length of the header and header where
// there is one, payload, checksum. The newest block of a stream is not compressed,
// whatever the stream says, and small logs have one.
type block struct {
	tb     testing.TB
	file   string
	stream string
	number int
	// records are the messages in the order of the file.
	records []record
}

type record struct {
	sequence      uint64
	time          uint64
	subject       string
	header, data  []byte
	staleChecksum bool // the checksum is left as it was, as a failing disk leaves it
	checksum      []byte
}

const (
	headerBit  = 1 << 31
	recordSize = 22
)

// open reads the first block of a stream of a stopped server.
func open(tb testing.TB, s *natstest.Server, stream string) *block {
	tb.Helper()
	b := &block{tb: tb, stream: stream, number: 1}
	b.file = filepath.Join(s.Dir(), "jetstream", natstest.PeoplesAccount, "streams", stream, "msgs", "1.blk")
	all, err := os.ReadFile(b.file)
	if err != nil {
		tb.Fatal(err)
	}
	if bytes.HasPrefix(all, []byte("cmp")) {
		tb.Fatal("the block is compressed")
	}
	for rest := all; len(rest) > 0; {
		size := binary.LittleEndian.Uint32(rest)
		body := rest[recordSize : size&^headerBit]
		r := record{sequence: binary.LittleEndian.Uint64(rest[4:]), time: binary.LittleEndian.Uint64(rest[12:])}
		n := binary.LittleEndian.Uint16(rest[20:])
		r.subject, body = string(body[:n]), body[n:]
		if size&headerBit != 0 {
			n := binary.LittleEndian.Uint32(body)
			r.header, body = bytes.Clone(body[4:4+n]), body[4+n:]
		}
		r.data, r.checksum = bytes.Clone(body[:len(body)-8]), bytes.Clone(body[len(body)-8:])
		if got := b.sum(r); !bytes.Equal(got, r.checksum) {
			tb.Fatalf("message %d: checksum %x, the file has %x: the server's form has changed", r.sequence, got, r.checksum)
		}
		b.records = append(b.records, r)
		rest = rest[size&^headerBit:]
	}
	return b
}

// of gives the record of one sequence.
func (b *block) of(sequence uint64) *record {
	b.tb.Helper()
	for i := range b.records {
		if b.records[i].sequence == sequence {
			return &b.records[i]
		}
	}
	b.tb.Fatalf("stream %s has no message %d", b.stream, sequence)
	return nil
}

// save writes the block, and has the server find out again what is in it unless
// its index is to be kept.
func (b *block) save(keepIndex bool) {
	b.tb.Helper()
	var all []byte
	for _, r := range b.records {
		size := uint32(recordSize + len(r.subject) + len(r.data) + 8)
		if len(r.header) > 0 {
			size += 4 + uint32(len(r.header))
			all = binary.LittleEndian.AppendUint32(all, size|headerBit)
		} else {
			all = binary.LittleEndian.AppendUint32(all, size)
		}
		all = binary.LittleEndian.AppendUint64(all, r.sequence)
		all = binary.LittleEndian.AppendUint64(all, r.time)
		all = binary.LittleEndian.AppendUint16(all, uint16(len(r.subject)))
		all = append(all, r.subject...)
		if len(r.header) > 0 {
			all = binary.LittleEndian.AppendUint32(all, uint32(len(r.header)))
			all = append(all, r.header...)
		}
		all = append(all, r.data...)
		if r.staleChecksum {
			all = append(all, r.checksum...)
		} else {
			all = append(all, b.sum(r)...)
		}
	}
	if err := os.WriteFile(b.file, all, 0o600); err != nil {
		b.tb.Fatal(err)
	}
	if keepIndex {
		return
	}
	if err := os.Remove(filepath.Join(filepath.Dir(b.file), "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.tb.Fatal(err)
	}
}

// sum is the server's checksum of a record: HighwayHash, keyed by stream and block.
func (b *block) sum(r record) []byte {
	b.tb.Helper()
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", b.stream, b.number))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		b.tb.Fatal(err)
	}
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], r.sequence)
	binary.LittleEndian.PutUint64(place[8:], r.time)
	for _, part := range [][]byte{place[:], []byte(r.subject), r.header, r.data} {
		_, _ = h.Write(part) // a hash takes all
	}
	return h.Sum(nil)
}
