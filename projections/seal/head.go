package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/eventlog"
)

// How often an operator seals, unless it is told otherwise: after so many events,
// and after so long where there were fewer.
const (
	DefaultEvents   = 10_000
	DefaultInterval = 10 * time.Minute
)

// textContext is the first line of what is signed: nothing else that the key might
// ever sign begins so.
const textContext = "fleet.nationtech.io/seal/v1"

// Text is what a seal signs, five lines that each end with a line feed:
//
//	fleet.nationtech.io/seal/v1     what this is, and the version of the form
//	<tree size>                     decimal: how many messages the tree has
//	<root hash>                     base64, padded (RFC 4648, section 4)
//	<last sequence>                 decimal: of the last message in the tree
//	<time>                          RFC 3339 in UTC, as sealed_at of the payload
//
// It is the body of a checkpoint as transparency logs write it (C2SP,
// tlog-checkpoint), with two extension lines.
func Text(s eventlog.Seal) []byte {
	var b bytes.Buffer
	for _, line := range []string{
		textContext,
		strconv.FormatUint(s.TreeSize, 10),
		base64.StdEncoding.EncodeToString(s.RootHash),
		strconv.FormatUint(s.Sequence, 10),
		s.SealedAt.UTC().Format(time.RFC3339Nano),
	} {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Sign makes the seal of a tree.
func Sign(key nkeys.KeyPair, t *Tree, at time.Time) (eventlog.Seal, error) {
	public, err := key.PublicKey()
	if err != nil {
		return eventlog.Seal{}, fmt.Errorf("seal: %w", err)
	}
	s := eventlog.Seal{
		TreeSize: t.Size(), RootHash: t.Root(), Sequence: t.Size(), SealedAt: at.UTC(), PublicKey: public, Peaks: t.Peaks(),
	}
	if s.Signature, err = key.Sign(Text(s)); err != nil {
		return eventlog.Seal{}, fmt.Errorf("seal: %w", err)
	}
	return s, nil
}

// Why a seal proves nothing.
var (
	ErrMalformed = errors.New("the seal contradicts itself")
	ErrSignature = errors.New("the seal's signature is not that of its key")
	ErrKey       = errors.New("the seal is signed by a key that is not trusted")
)

// Check says whether a seal is what it says it is: signed, by a key that is
// trusted, with the peaks of its root where it has any. Whether the log is as it
// says is another question. It fails with ErrMalformed, ErrSignature or ErrKey.
func Check(s eventlog.Seal, trusted Keys) error {
	if s.TreeSize == 0 || s.Sequence != s.TreeSize || len(s.RootHash) != hasher.Size() {
		return fmt.Errorf("%w: %d messages up to sequence %d, root of %d bytes", ErrMalformed, s.TreeSize, s.Sequence, len(s.RootHash))
	}
	key, err := nkeys.FromPublicKey(s.PublicKey)
	if err != nil {
		return fmt.Errorf("%w: public key %q: %w", ErrMalformed, s.PublicKey, err)
	}
	if err := key.Verify(Text(s), s.Signature); err != nil {
		return fmt.Errorf("%w, %s", ErrSignature, s.PublicKey)
	}
	if !trusted.Trust(s.PublicKey) {
		return fmt.Errorf("%w: %s", ErrKey, s.PublicKey)
	}
	if len(s.Peaks) == 0 {
		return nil
	}
	for _, p := range s.Peaks {
		if len(p) != hasher.Size() {
			return fmt.Errorf("%w: a peak of %d bytes", ErrMalformed, len(p))
		}
	}
	t, err := Grown(s)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(t.Root(), s.RootHash) {
		return fmt.Errorf("%w: its peaks are not those of its root", ErrMalformed)
	}
	return nil
}

// Keys are the public keys by which seals may be signed. None at all trusts
// whichever key a seal names.
type Keys []string

// ParseKeys reads public keys, separated by commas or spaces.
func ParseKeys(text string) (Keys, error) {
	keys := Keys(strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }))
	for _, k := range keys {
		if _, err := nkeys.FromPublicKey(k); err != nil {
			return nil, fmt.Errorf("%q is no public key, such as UAB…: %w", k, err)
		}
	}
	return keys, nil
}

// Trust says whether a key is one of these.
func (k Keys) Trust(public string) bool { return len(k) == 0 || slices.Contains(k, public) }
