package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
)

// ProofFormat names the form of the document, and its version.
const ProofFormat = "fleet.nationtech.io/proof/v1"

// Proof shows that one message is in a log that was sealed. It holds all that
// checking it takes, but for the one thing that cannot come with it: trust in the
// public key.
type Proof struct {
	Format string        `json:"format"`
	Leaf   []byte        `json:"leaf"`       // the message in its canonical form
	Index  uint64        `json:"leaf_index"` // its place in the tree, from 0
	Hashes [][]byte      `json:"hashes"`     // the audit path, from the leaf up (RFC 6962, section 2.1.1)
	Seal   eventlog.Seal `json:"seal"`
}

// ErrProof says that a document proves nothing: it is none, or its parts do not
// agree.
var ErrProof = errors.New("the proof does not hold")

// maxProof bounds a document: a message of the largest size in base64, and the
// rest.
const maxProof = 2*logstream.MaxMessageBytes + 64<<10

// CheckProof says whether a document proves that its message is in the log that
// its seal covers, by a key that is trusted. It needs nothing else. It gives the
// message, also a foreign one, and the seal.
//
// Errors: ErrProof, ErrMalformed, ErrSignature, ErrKey.
func CheckProof(document []byte, trusted Keys) (eventlog.Event, eventlog.Seal, error) {
	var p Proof
	if len(document) > maxProof {
		return eventlog.Event{}, p.Seal, fmt.Errorf("%w: a document of %d bytes is none", ErrProof, len(document))
	}
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return eventlog.Event{}, p.Seal, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if p.Format != ProofFormat {
		return eventlog.Event{}, p.Seal, fmt.Errorf("%w: its format is %q, this is %s", ErrProof, p.Format, ProofFormat)
	}
	e, err := eventlog.ParseCanonical(p.Leaf)
	if err != nil && !errors.Is(err, eventlog.ErrForeign) {
		return eventlog.Event{}, p.Seal, fmt.Errorf("%w: %w", ErrProof, err)
	}
	if err := Check(p.Seal, trusted); err != nil {
		return e, p.Seal, err
	}
	if e.Sequence != p.Index+1 {
		return e, p.Seal, fmt.Errorf("%w: message %d is shown at index %d of the tree, and belongs at %d", ErrProof, e.Sequence, p.Index, e.Sequence-1)
	}
	if err := proof.VerifyInclusion(hasher, p.Index, p.Seal.TreeSize, hasher.HashLeaf(p.Leaf), p.Hashes, p.Seal.RootHash); err != nil {
		var other proof.RootMismatchError
		if errors.As(err, &other) {
			return e, p.Seal, fmt.Errorf("%w: it leads to root %x, the seal has %x", ErrProof, other.CalculatedRoot, other.ExpectedRoot)
		}
		return e, p.Seal, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return e, p.Seal, nil
}

// path collects the audit path of one message while the tree grows to a seal.
type path struct {
	wanted proof.Nodes
	at     map[compact.NodeID][]byte // nil where it is yet to come
}

func newPath(index, size uint64) (*path, error) {
	n, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("audit path: %w", err)
	}
	p := &path{n, make(map[compact.NodeID][]byte, len(n.IDs))}
	for _, id := range n.IDs {
		p.at[id] = nil
	}
	return p, nil
}

// begin takes what is left of the message: the tree's peaks before it is added.
func (p *path) begin(t *Tree) {
	hashes := t.peaks.Hashes()
	for i, id := range compact.RangeNodes(0, t.Size(), nil) {
		p.visit(id, hashes[i])
	}
}

func (p *path) visit(id compact.NodeID, hash []byte) {
	if _, ok := p.at[id]; ok {
		p.at[id] = slices.Clone(hash)
	}
}

func (p *path) hashes() ([][]byte, error) {
	hs := make([][]byte, len(p.wanted.IDs))
	for i, id := range p.wanted.IDs {
		if hs[i] = p.at[id]; hs[i] == nil {
			return nil, fmt.Errorf("audit path: node %d/%d is missing", id.Level, id.Index)
		}
	}
	hs, err := p.wanted.Rehash(hs, hasher.HashChildren)
	if err != nil {
		return nil, fmt.Errorf("audit path: %w", err)
	}
	return hs, nil
}
