package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"fleet.nationtech.io/projections/archive"
)

// Names in the directory where an archive is made. They are the same in each run, so that
// a run goes on with what an earlier one wrote; lockName lets one run at a time do so.
const (
	working  = "fleet-in-progress" + suffix
	lockName = ".fleet-backup.lock"
)

// workDir is the directory where an archive is made, locked for one run.
type workDir struct {
	file string // the archive
	lock io.Closer
}

// openWorkDir locks the directory: dir, or the place where that is a directory, or one of
// this user's own below the system's for temporary files. It fails with archive.ErrBusy
// while another run has it.
func openWorkDir(dir string, place Place) (*workDir, error) {
	if d, ok := place.(Directory); ok {
		dir = cmp.Or(dir, string(d))
	}
	if dir == "" {
		var err error
		if dir, err = privateDir(os.TempDir()); err != nil {
			return nil, fmt.Errorf("work directory: %w", err)
		}
	}
	lock, err := archive.Lock(filepath.Join(dir, lockName))
	if errors.Is(err, archive.ErrBusy) {
		return nil, fmt.Errorf("work directory %s: another backup uses it: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("work directory: %w", err)
	}
	return &workDir{filepath.Join(dir, working), lock}, nil
}

// takeUp makes an archive that an earlier run finished and did not store one in the
// making again. archive.Create checks what is in it, and does not write that again.
func (w *workDir) takeUp() error {
	err := os.Rename(w.file, archive.PartialOf(w.file))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// privateDir makes a directory below base that nobody but this user can use, or finds it
// there. Below a directory that all may write to, somebody else may have taken its name.
func privateDir(base string) (string, error) {
	dir := filepath.Join(base, "fleet-backup-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err == nil || !errors.Is(err, os.ErrExist) {
		return dir, err
	}
	i, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !i.IsDir() || !isPrivate(i) {
		return "", fmt.Errorf("%s: %w", dir, errNotPrivate)
	}
	return dir, nil
}

var errNotPrivate = errors.New("it is no directory that belongs to this user alone")
