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
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/projections/archive"
	"fleet.nationtech.io/projections/seal"
)

// working is the name of an archive in the making, so that the next run goes on with
// what an earlier one wrote.
const working = "fleet-in-progress" + suffix

// Step is what a backup is at.
type Step string

// The steps, in their order.
const (
	StepArchive Step = "archiving the log"
	StepCheck   Step = "checking the archive"
	StepStore   Step = "storing it"
	StepRead    Step = "reading it back"
	StepFetch   Step = "fetching the archive"
)

// Errors of a backup.
var (
	// ErrNotVerified says that what was read back is not what was stored.
	ErrNotVerified = errors.New("what was read back differs from what was stored")
	// ErrNotRemoved says that the backup is there and verified, and that an older archive
	// could not be removed.
	ErrNotRemoved = errors.New("an older archive could not be removed")
	// ErrNone says that a place has no archive that is verified.
	ErrNone = errors.New("there is no verified archive")
	// ErrAmbiguous says that a place has archives of several logs.
	ErrAmbiguous = errors.New("there are archives of several logs")
)

// Options say how a backup is made.
type Options struct {
	Archive   archive.CreateOptions // Replace is set by Run
	Retention Retention
	WorkDir   string    // where the archive is made; empty: the directory that is the place, else the system's for temporary files
	Seals     seal.Keys // the keys that count
	Now       func() time.Time
	// Progress is told how much of a step is done. It may be nil.
	Progress func(step Step, done, total uint64)
}

// Result is what came of a backup.
type Result struct {
	Archive  archive.Index
	Place    string
	Name     string
	SHA256   string // of the whole file
	Seals    archive.Sealed
	Removed  []string
	Remain   []Archive // the newest first
	Duration time.Duration
}

// mark is what stands beside an archive that was read back whole.
type mark struct {
	SHA256   string    `json:"sha256"`
	Size     int64     `json:"size"`
	Events   uint64    `json:"events"`
	Last     uint64    `json:"last"` // sequence
	Verified time.Time `json:"verified"`
}

// Run archives the log, checks the archive with the seals in it, stores it, reads it
// back from the place, marks it as verified, and then removes what the retention lets
// go, of the same log. Nothing is removed unless the new archive is verified. What is
// cut short is gone on with by the next run.
//
// Errors: those of archive.Create and archive.CheckSeals; ErrNotVerified; ErrNotRemoved,
// with a result that holds; those of a place.
func Run(ctx context.Context, nc *nats.Conn, place Place, o Options) (Result, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &backup{place: place, o: o, began: o.Now()}
	b.out.Place = place.String()
	err := b.run(ctx, nc)
	return b.out, err
}

type backup struct {
	place Place
	o     Options
	began time.Time
	file  string
	out   Result
}

func (b *backup) progress(s Step) func(done, total uint64) {
	return func(done, total uint64) {
		if b.o.Progress != nil {
			b.o.Progress(s, done, total)
		}
	}
}

func (b *backup) run(ctx context.Context, nc *nats.Conn) error {
	if _, err := b.place.List(ctx); err != nil { // before hours of work
		return err
	}
	dir := b.o.WorkDir
	if d, ok := b.place.(Directory); ok && dir == "" {
		dir = string(d)
	}
	if dir == "" {
		dir = os.TempDir()
	}
	b.file = filepath.Join(dir, working)
	c := b.o.Archive
	c.Replace, c.Now, c.Progress = true, b.o.Now, b.progress(StepArchive)
	made, err := archive.Create(ctx, nc, b.file, c)
	if err != nil {
		return err
	}
	if b.out.Archive, err = archive.Check(ctx, b.file, archive.CheckOptions{Progress: b.progress(StepCheck)}); err != nil {
		return err
	}
	if b.out.Seals, err = archive.CheckSeals(ctx, b.file, b.out.Archive, b.o.Seals, b.progress(StepCheck)); err != nil {
		return err
	}
	b.out.Name = NameOf(made.LogID, made.Created)
	if err := b.store(ctx); err != nil {
		return err
	}
	err = b.prune(ctx, made.LogID)
	b.out.Duration = b.o.Now().Sub(b.began)
	return err
}

// store brings the archive to its place, and makes sure that it is there.
func (b *backup) store(ctx context.Context) error {
	want, size, err := sumOf(b.file)
	if err != nil {
		return err
	}
	if err := b.place.Put(ctx, b.out.Name, b.file, b.progress(StepStore)); err != nil {
		return err
	}
	got := &summer{h: sha256.New()}
	if err := b.place.Get(ctx, b.out.Name, got, b.progress(StepRead)); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if got.sum() != want || got.n != size {
		return fmt.Errorf("%s in %s: %w: %d bytes with SHA-256 %s, not %d bytes with %s", b.out.Name, b.place, ErrNotVerified, got.n, got.sum(), size, want)
	}
	b.out.SHA256 = want
	if err := b.mark(ctx, mark{SHA256: want, Size: size, Events: b.out.Archive.Messages, Last: b.out.Archive.Last.Sequence, Verified: b.o.Now().UTC()}); err != nil {
		return err
	}
	if err := os.Remove(b.file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// mark writes beside the archive that it is verified. Its file is made where the archive
// was: a pod may have no other place to write to.
func (b *backup) mark(ctx context.Context, m mark) error {
	content, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(b.file), ".fleet-mark-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails where it was renamed into its place
	_, err = f.Write(append(content, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return b.place.Put(ctx, b.out.Name+markSuffix, f.Name(), nil)
}

// prune removes what need not be kept. The mark goes first, so that an archive that is
// half removed counts as one that is not verified.
func (b *backup) prune(ctx context.Context, logID string) error {
	files, err := b.place.List(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotRemoved, err)
	}
	all := archivesOf(files)
	if !slices.ContainsFunc(all, func(a Archive) bool { return a.Name == b.out.Name && a.Verified }) {
		return fmt.Errorf("%s in %s: %w: the place does not list it", b.out.Name, b.place, ErrNotVerified)
	}
	var failed []error
	for _, a := range b.o.Retention.Surplus(all, logID, b.o.Now()) {
		err := b.place.Remove(ctx, a.Name+markSuffix)
		if err == nil {
			err = b.place.Remove(ctx, a.Name)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		b.out.Removed = append(b.out.Removed, a.Name)
	}
	b.out.Remain = slices.DeleteFunc(all, func(a Archive) bool { return slices.Contains(b.out.Removed, a.Name) })
	if len(failed) > 0 {
		return fmt.Errorf("%w: %w", ErrNotRemoved, errors.Join(failed...))
	}
	return nil
}

// Newest gives the newest archive of a place that is verified. It fails with ErrNone,
// and with ErrAmbiguous where there are verified archives of several logs.
func Newest(ctx context.Context, place Place) (Archive, error) {
	files, err := place.List(ctx)
	if err != nil {
		return Archive{}, err
	}
	all := slices.DeleteFunc(archivesOf(files), func(a Archive) bool { return !a.Verified })
	if len(all) == 0 {
		return Archive{}, fmt.Errorf("%s: %w", place, ErrNone)
	}
	for _, a := range all {
		if a.LogID != all[0].LogID {
			return Archive{}, fmt.Errorf("%s: %w: %s, %s", place, ErrAmbiguous, all[0].Name, a.Name)
		}
	}
	return all[0], nil
}

// Fetch brings an archive into a file, and compares it with its mark, where it has one.
// It fails with ErrNotVerified, ErrMissing, and the errors of a place.
func Fetch(ctx context.Context, place Place, name, file string, progress func(done, total uint64)) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	got := &summer{h: sha256.New()}
	err = place.Get(ctx, name, io.MultiWriter(f, got), progress)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	var beside bytesBuffer
	err = place.Get(ctx, name+markSuffix, &beside, nil)
	if errors.Is(err, ErrMissing) {
		return nil // the archive checks itself
	}
	if err != nil {
		return err
	}
	var m mark
	if err := json.Unmarshal(beside, &m); err != nil {
		return fmt.Errorf("%s%s in %s: %w", name, markSuffix, place, err)
	}
	if m.SHA256 != got.sum() {
		return fmt.Errorf("%s in %s: %w: SHA-256 %s, not %s", name, place, ErrNotVerified, got.sum(), m.SHA256)
	}
	return nil
}

// bytesBuffer keeps what is written, up to what a mark may be.
type bytesBuffer []byte

const maxMark = 64 << 10

func (b *bytesBuffer) Write(p []byte) (int, error) {
	if len(*b)+len(p) > maxMark {
		return 0, errors.New("it is too large for a mark")
	}
	*b = append(*b, p...)
	return len(p), nil
}

// summer hashes and counts what is written.
type summer struct {
	h hash.Hash
	n int64
}

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
	s := &summer{h: sha256.New()}
	_, err = io.Copy(s, f)
	return s.sum(), s.n, err
}
