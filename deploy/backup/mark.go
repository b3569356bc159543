package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"
)

// mark is what stands beside an archive that was read back whole.
type mark struct {
	SHA256   string    `json:"sha256"`
	Size     int64     `json:"size"`
	Events   uint64    `json:"events"`
	Last     uint64    `json:"last"`      // sequence of the last event
	LastTime time.Time `json:"last_time"` // of the last event; older marks have none
	Verified time.Time `json:"verified"`
}

// errNoMark says that a mark is empty or says something else, so that its archive does
// not count as verified.
var errNoMark = errors.New("the mark cannot be read")

// readMark reads the mark of an archive. It fails with ErrMissing where there is none,
// with errNoMark, and with the errors of a place.
func readMark(ctx context.Context, place Place, name string) (mark, error) {
	var content limited
	if err := place.Get(ctx, name+markSuffix, &content, nil); err != nil {
		return mark{}, err
	}
	var m mark
	err := json.Unmarshal(content, &m)
	if sum, bad := hex.DecodeString(m.SHA256); err == nil && (bad != nil || len(sum) != sha256.Size) {
		err = errors.New("it has no SHA-256")
	}
	if err != nil {
		return mark{}, fmt.Errorf("%s%s in %s: %w: %w", name, markSuffix, place, errNoMark, err)
	}
	return m, nil
}

// Newest gives the newest archive of a place that is verified. It fails with ErrNone,
// and with ErrAmbiguous where there are verified archives of several logs.
func Newest(ctx context.Context, place Place) (Archive, error) {
	files, err := place.List(ctx)
	if err != nil {
		return Archive{}, err
	}
	var newest Archive
	for _, a := range archivesOf(files) {
		if !a.Verified || a.LogID == newest.LogID {
			continue
		}
		switch _, err := readMark(ctx, place, a.Name); {
		case errors.Is(err, errNoMark), errors.Is(err, ErrMissing):
		case err != nil:
			return Archive{}, err
		case newest.Name != "":
			return Archive{}, fmt.Errorf("%s: %w: %s, %s", place, ErrAmbiguous, newest.Name, a.Name)
		default:
			newest = a
		}
	}
	if newest.Name == "" {
		return Archive{}, fmt.Errorf("%s: %w", place, ErrNone)
	}
	return newest, nil
}

// Fetch brings an archive into a file, and compares it with its mark, where it has one.
// It fails with ErrNotVerified, ErrMissing, and the errors of a place.
func Fetch(ctx context.Context, place Place, name, file string, progress func(done, total uint64)) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(compare(ctx, place, name, f, progress), f.Close())
}

// Compare reads an archive in its place, and compares it with its mark, where it has one.
// It fails as Fetch does.
func Compare(ctx context.Context, place Place, name string, progress func(done, total uint64)) error {
	return compare(ctx, place, name, io.Discard, progress)
}

func compare(ctx context.Context, place Place, name string, w io.Writer, progress func(done, total uint64)) error {
	got := newSummer()
	if err := place.Get(ctx, name, io.MultiWriter(w, got), progress); err != nil {
		return err
	}
	m, err := readMark(ctx, place, name)
	switch {
	case errors.Is(err, ErrMissing):
		return nil // the archive checks itself
	case errors.Is(err, errNoMark):
		return fmt.Errorf("%w: %w", ErrNotVerified, err)
	case err != nil:
		return err
	case m.SHA256 != got.sum():
		return fmt.Errorf("%s in %s: %w: SHA-256 %s, not %s", name, place, ErrNotVerified, got.sum(), m.SHA256)
	}
	return nil
}

// limited keeps what is written, up to what a mark may be.
type limited []byte

const maxMark = 64 << 10

func (b *limited) Write(p []byte) (int, error) {
	if len(*b)+len(p) > maxMark {
		return 0, fmt.Errorf("%w: it is too large", errNoMark)
	}
	*b = append(*b, p...)
	return len(p), nil
}

// summer hashes and counts what is written.
type summer struct {
	h hash.Hash
	n int64
}

func newSummer() *summer { return &summer{h: sha256.New()} }

func (s *summer) Write(p []byte) (int, error) {
	s.n += int64(len(p))
	return s.h.Write(p)
}

func (s *summer) sum() string { return hex.EncodeToString(s.h.Sum(nil)) }

func sumOf(file string) (sum string, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	s := newSummer()
	_, err = io.Copy(s, f)
	return s.sum(), s.n, err
}
