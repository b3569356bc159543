package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/archive"
	"fleet.nationtech.io/projections/seal"
)

// Step is what a backup is at.
type Step string

// The steps, in their order.
const (
	StepArchive Step = "archiving the log"
	StepCheck   Step = "checking the archive"
	StepStore   Step = "storing it"
	StepRead    Step = "reading it back"
	StepFetch   Step = "fetching the archive"
	StepCompare Step = "comparing the archive with its mark"
)

// Errors of a backup.
var (
	// ErrNotVerified says that what was read back is not what was stored.
	ErrNotVerified = errors.New("what was read back differs from what was stored")
	// ErrNotRemoved says that the backup is there and verified, and that an older archive
	// could not be removed.
	ErrNotRemoved = errors.New("an older archive could not be removed")
	// ErrWentBack says that the backup is there and verified, and that nothing was removed,
	// since an older archive has events that the log has lost.
	ErrWentBack = errors.New("the log has lost events that an older archive has; nothing is removed")
	// ErrNone says that a place has no archive that is verified.
	ErrNone = errors.New("there is no verified archive")
	// ErrAmbiguous says that a place has archives of several logs.
	ErrAmbiguous = errors.New("there are archives of several logs")
)

// Options say how a backup is made.
type Options struct {
	Archive   archive.CreateOptions // Replace is set by Run
	Retention Retention
	WorkDir   string    // where the archive is made; empty: the directory that is the place, else this user's own below the system's for temporary files
	Seals     seal.Keys // the keys that count
	Now       func() time.Time
	// Progress is told how much of a step is done. It may be nil.
	Progress func(step Step, done, total uint64)
}

// Result is what came of a backup.
type Result struct {
	Archive  archive.Index
	Place    string
	Working  string // the file in which the archive was made
	Name     string
	SHA256   string // of the whole file
	Seals    archive.Sealed
	Removed  []string
	Remain   []Archive // the newest first
	Duration time.Duration
}

// Run archives the log, checks the archive with the seals in it, stores it, reads it
// back from the place, marks it as verified, and then removes what the retention lets
// go, of the same log. Nothing is removed unless the new archive is verified and has all
// that the older ones have. An archive that is not stored stays in the work directory,
// and the next run goes on with it. One run at a time has a work directory.
//
// Errors: archive.ErrBusy, where another run has it; those of archive.Create and
// archive.CheckSeals; ErrNotVerified; ErrNotRemoved and ErrWentBack, with a result that
// holds; those of a place.
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
	out   Result

	tails  *tails // of the older archives
	unread error  // why their marks could not be read
}

func (b *backup) progress(s Step) func(done, total uint64) {
	return func(done, total uint64) {
		if b.o.Progress != nil {
			b.o.Progress(s, done, total)
		}
	}
}

func (b *backup) run(ctx context.Context, nc *nats.Conn) error {
	there, err := b.place.List(ctx) // before hours of work
	if err != nil {
		return err
	}
	w, err := openWorkDir(b.o.WorkDir, b.place)
	if err != nil {
		return err
	}
	defer w.lock.Close()
	if err := w.takeUp(); err != nil {
		return err
	}
	b.out.Working = w.file
	c := b.o.Archive
	c.Replace, c.Now, c.Progress = true, b.o.Now, b.progress(StepArchive)
	made, err := archive.Create(ctx, nc, w.file, c)
	if err != nil {
		return err
	}
	b.tails, b.unread = readTails(ctx, b.place, there, made.LogID, b.o.Retention != Retention{})
	if err := b.check(ctx); err != nil {
		return err
	}
	b.out.Name = NameOf(b.out.Archive.LogID, b.out.Archive.Created)
	if err := b.store(ctx); err != nil {
		return err
	}
	err = b.prune(ctx)
	b.out.Duration = b.o.Now().Sub(b.began)
	return err
}

// check reads the archive to its end, and holds it against the seals in it.
func (b *backup) check(ctx context.Context) (err error) {
	o := archive.CheckOptions{Progress: b.progress(StepCheck), Events: func(e eventlog.Event, _ error) error {
		b.tails.note(e)
		return nil
	}}
	if b.out.Archive, err = archive.Check(ctx, b.out.Working, o); err != nil {
		return err
	}
	b.out.Seals, err = archive.CheckSeals(ctx, b.out.Working, b.out.Archive, b.o.Seals, b.progress(StepCheck))
	return err
}

// store brings the archive to its place, and makes sure that it is there.
func (b *backup) store(ctx context.Context) error {
	want, size, err := sumOf(b.out.Working)
	if err != nil {
		return err
	}
	if err := b.place.Put(ctx, b.out.Name, b.out.Working, b.progress(StepStore)); err != nil {
		return err
	}
	got := newSummer()
	if err := b.place.Get(ctx, b.out.Name, got, b.progress(StepRead)); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if got.sum() != want || got.n != size {
		return fmt.Errorf("%s in %s: %w: %d bytes with SHA-256 %s, not %d bytes with %s", b.out.Name, b.place, ErrNotVerified, got.n, got.sum(), size, want)
	}
	b.out.SHA256 = want
	last := b.out.Archive.Last
	if err := b.mark(ctx, mark{want, size, b.out.Archive.Messages, last.Sequence, last.Time, b.o.Now().UTC()}); err != nil {
		return err
	}
	if err := os.Remove(b.out.Working); err != nil && !errors.Is(err, os.ErrNotExist) {
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
	file := b.out.Working + markSuffix
	if err := os.WriteFile(file, append(content, '\n'), 0o600); err != nil {
		return err
	}
	defer os.Remove(file) // fails where it was renamed into its place
	return b.place.Put(ctx, b.out.Name+markSuffix, file, nil)
}

// prune removes what need not be kept, and nothing where an older archive has events that
// the log has lost. The mark goes first, so that an archive that is half removed counts
// as one that is not verified.
func (b *backup) prune(ctx context.Context) error {
	files, err := b.place.List(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotRemoved, err)
	}
	all := archivesOf(files)
	for i, a := range all {
		all[i].Verified = a.Verified && !b.tails.unmarked[a.Name]
	}
	b.out.Remain = all
	if !slices.ContainsFunc(all, func(a Archive) bool { return a.Name == b.out.Name && a.Verified }) {
		return fmt.Errorf("%s in %s: %w: the place does not list it", b.out.Name, b.place, ErrNotVerified)
	}
	if b.unread != nil {
		return fmt.Errorf("%w: their marks were not read: %w", ErrNotRemoved, b.unread)
	}
	if lost := b.tails.lost(); len(lost) > 0 {
		var which []string
		for _, m := range lost {
			which = append(which, fmt.Sprintf("%s goes to event %d", m.name, m.Last))
		}
		return fmt.Errorf("%s: %w: %s; the log goes to event %d, and does not have that one", b.place, ErrWentBack, strings.Join(which, ", "), b.out.Archive.Last.Sequence)
	}
	return b.remove(ctx, all)
}

func (b *backup) remove(ctx context.Context, all []Archive) error {
	var failed []error
	for _, a := range b.o.Retention.Surplus(all, b.out.Archive.LogID, b.o.Now()) {
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
