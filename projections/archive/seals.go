package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/seal"
)

// ErrSeal says that an archive has events that its seals do not vouch for.
var ErrSeal = errors.New("a seal does not hold")

// Sealed says what the seals in an archive vouch for.
type Sealed struct {
	Seals   int
	Covered uint64 // the last event that the last seal covers
	Key     string // of the last seal
}

// signed is a seal and where it stands.
type signed struct {
	eventlog.Seal
	event uint64
}

// CheckSeals holds the events of an archive against the seals in it, which the
// operator signed while they were in its log: so it finds out who changed them
// before they were archived, or wrote another file in its place. m is what Check
// gave of the file.
//
// Errors: ErrSeal, and those of Check.
func CheckSeals(ctx context.Context, file string, m Index, trusted seal.Keys, progress func(done, total uint64)) (Sealed, error) {
	var out Sealed
	if len(m.seals) == 0 {
		return out, nil
	}
	c := &sealCheck{tree: seal.NewTree(), trusted: trusted, left: m.seals}
	_, err := Check(ctx, file, CheckOptions{Progress: progress, Events: c.add})
	if err != nil {
		return out, err
	}
	if len(c.left) > 0 {
		return out, fmt.Errorf("%s: event %d: %w: it covers %d events, more than there are", file, c.left[0].event, ErrSeal, c.left[0].TreeSize)
	}
	last := m.seals[len(m.seals)-1]
	return Sealed{Seals: len(m.seals), Covered: last.Sequence, Key: last.PublicKey}, nil
}

// sealCheck grows the tree over the events, and compares its root with each seal
// where that ends.
type sealCheck struct {
	tree    *seal.Tree
	trusted seal.Keys
	left    []signed
}

func (c *sealCheck) add(e eventlog.Event, _ error) error {
	if len(c.left) == 0 {
		return nil
	}
	if err := c.tree.Add(e); err != nil {
		return fmt.Errorf("event %d: %w: %w", e.Sequence, ErrSeal, err)
	}
	for len(c.left) > 0 && c.left[0].TreeSize <= c.tree.Size() {
		s := c.left[0]
		c.left = c.left[1:]
		if err := seal.Check(s.Seal, c.trusted); err != nil {
			return fmt.Errorf("event %d: %w: %w", s.event, ErrSeal, err)
		}
		if s.TreeSize != c.tree.Size() || !bytes.Equal(c.tree.Root(), s.RootHash) {
			return fmt.Errorf("event %d: %w: the events up to %d are not those that it covers", s.event, ErrSeal, s.Sequence)
		}
	}
	return nil
}
