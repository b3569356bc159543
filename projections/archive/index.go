// Package archive puts the whole event log into one file and back. The server's
// own snapshot and restore carry it, so sequences, timestamps, headers and data
// are kept to the byte; a restored log has an id of its own, so that anyone who knew
// the old one notices.
//
// An archive is a tar file:
//
//	head.json              format, product version and the log's id
//	log/00000001.<sha256>  messages, the oldest first, in chunks of some 4 MiB
//	log/00000002.<sha256>  …
//	log/00000000.<sha256>  what goes before them: the stream's state
//	log/99999999.<sha256>  what goes after them: the end mark
//	backup.json            the stream's configuration and state, as the nats tool keeps them
//	manifest.json          see Manifest
//	sha256                 of all that stands before it
//
// Each chunk is an S2 stream, and all of them put together in the order of their
// names are the server's own snapshot: so an archive can be restored without this
// program (`cat log/* > stream.arc.s2`, beside backup.json, is what `nats stream
// restore` takes). The log never changes and a chunk is cut where its content says,
// so the chunks of the same log are the same whenever it is archived.
package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
)

// Format is the version of the file's form.
const Format = 1

// Names in the file.
const (
	nameHead     = "head.json"
	nameBackup   = "backup.json"
	nameManifest = "manifest.json"
	nameSum      = "sha256"
	dirLog       = "log/"
	firstChunk   = 0
	lastChunk    = 99_999_999
)

// head begins a file: what must be the same for two files to share chunks.
type head struct {
	Format  int    `json:"format"`
	Product string `json:"product"`
	LogID   string `json:"log_id"`
}

// Index says what is in an archive.
type Index struct {
	Format   int       `json:"format"`
	Product  string    `json:"product"` // version of the program that wrote it
	LogID    string    `json:"log_id"`
	Created  time.Time `json:"created"`
	First    Position  `json:"first"`
	Last     Position  `json:"last"`
	Messages uint64    `json:"messages"`
	Bytes    uint64    `json:"bytes"` // of the messages: subjects, headers and data
	// Seal is the last one in the log; nil where nothing was sealed.
	Seal   *Seal           `json:"seal,omitempty"`
	Config json.RawMessage `json:"config"` // of the stream that was archived
	State  json.RawMessage `json:"state"`  // of the same
	Chunks []Chunk         `json:"chunks"`

	// ID is the SHA-256 that ends the file, in hex.
	ID string `json:"-"`
	// Size of the file in bytes.
	Size int64 `json:"-"`

	start, end span     // of the chunks before and after the messages
	seals      []signed // all of them, where the file was read
}

// Position is where in the log something stands.
type Position struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"` // when the log recorded it
}

// Seal is a signed tree head, as the log carries it.
type Seal struct {
	Sequence  uint64 `json:"sequence"` // the last one that its tree covers
	Event     uint64 `json:"event"`    // where it stands itself
	RootHash  []byte `json:"root_hash"`
	PublicKey string `json:"public_key"`
}

// Chunk is a part of the log within the file.
type Chunk struct {
	First  uint64 `json:"first"` // sequences
	Last   uint64 `json:"last"`
	Offset int64  `json:"offset"` // of its bytes in the file
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// span is a run of bytes in the file.
type span struct{ offset, size int64 }

// Errors of a file.
var (
	// ErrNotArchive says that a file is no archive of a fleet's log.
	ErrNotArchive = errors.New("not an archive of a fleet's log")
	// ErrNewer says that a newer version wrote it.
	ErrNewer = errors.New("a newer version of this program wrote it")
	// ErrDamaged says that a file is not as it was written. See Damage.
	ErrDamaged = errors.New("the archive is damaged")
	// ErrExists says that the file is there and was not to be replaced.
	ErrExists = errors.New("the file is there already")
	// ErrBusy says that another run is writing the file.
	ErrBusy = errors.New("another run is writing it")
	// ErrEmpty says that there is nothing to archive.
	ErrEmpty = errors.New("the log holds no event")
)

// Damage says where a file is not as it was written. It is an ErrDamaged.
type Damage struct {
	File   string
	Offset int64  // near which it was found
	Part   string // of the file
	After  uint64 // sequence of the last event before it that is whole; 0: none
	Cut    bool   // the file ends there
	Err    error
}

func (d *Damage) Error() string {
	how := "damaged"
	if d.Cut {
		how = "cut off"
	}
	where := fmt.Sprintf("%s is %s at byte %d, in %s", d.File, how, d.Offset, d.Part)
	if d.After > 0 {
		where += fmt.Sprintf(" (up to event %d all is well)", d.After)
	}
	return where + ": " + d.Err.Error()
}

// Unwrap implements errors.Is and errors.As.
func (d *Damage) Unwrap() []error { return []error{ErrDamaged, d.Err} }

// observe notes a message of the log.
func (m *Index) observe(e eventlog.Event, bytes int) error {
	if m.Messages > 0 && e.Sequence <= m.Last.Sequence {
		return fmt.Errorf("event %d stands after event %d", e.Sequence, m.Last.Sequence)
	}
	p := Position{Sequence: e.Sequence, Time: e.Recorded.UTC()}
	if m.Messages == 0 {
		m.First = p
	}
	m.Last = p
	m.Messages++
	m.Bytes += uint64(bytes)
	if e.Type == eventlog.SealCreated {
		s, err := eventlog.Payload[eventlog.Seal](e)
		if err != nil {
			return nil //nolint:nilerr // a foreign message is the log's business, not the archive's
		}
		m.seals = append(m.seals, signed{s, e.Sequence})
		m.Seal = &Seal{Sequence: s.Sequence, Event: e.Sequence, RootHash: s.RootHash, PublicKey: s.PublicKey}
	}
	return nil
}
