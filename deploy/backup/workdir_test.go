package backup_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/backup"
	"fleet.nationtech.io/projections/archive"
)

// Two fleets are backed up at once with one work directory. The first is held where it
// has checked its archive and has not stored it yet.
func TestOneBackupAtATimeHasAWorkDirectory(t *testing.T) {
	t.Parallel()
	_, one := aLog(t)
	_, other := aLog(t)
	s := newStore(t)
	p, dir := s.place("s3://backups/one"), t.TempDir()
	checked, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.behave(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/backups/one/") {
			once.Do(func() { close(checked); <-goOn })
		}
		return false
	})
	var first backup.Result
	ended := make(chan error, 1)
	go func() {
		var err error
		first, err = backup.Run(t.Context(), one, p, backup.Options{WorkDir: dir})
		ended <- err
	}()
	select {
	case <-checked:
	case err := <-ended:
		t.Fatalf("the first ended before it stored anything: %v", err)
	}
	_, err := backup.Run(t.Context(), other, s.place("s3://backups/other"), backup.Options{WorkDir: dir})
	if !errors.Is(err, archive.ErrBusy) || !strings.Contains(err.Error(), "work directory "+dir) {
		t.Errorf("the second run: %v", err)
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fetched")
	if err := backup.Fetch(t.Context(), p, first.Name, file, nil); err != nil {
		t.Fatal(err)
	}
	if i, err := archive.Check(t.Context(), file, archive.CheckOptions{}); err != nil || i.LogID != first.Archive.LogID {
		t.Errorf("%s is of log %s, %v", first.Name, i.LogID, err)
	}
	if _, err := backup.Run(t.Context(), other, s.place("s3://backups/other"), backup.Options{WorkDir: dir}); err != nil {
		t.Errorf("once the first has ended: %v", err)
	}
}

func TestAnArchiveThatWasNotStoredIsGoneOnWith(t *testing.T) {
	t.Parallel()
	_, nc := aLog(t)
	s := newStore(t)
	kept := 0
	o := backup.Options{WorkDir: t.TempDir(), Archive: archive.CreateOptions{Kept: func(chunks int) { kept = chunks }}}
	s.behave(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		return r.Method == http.MethodPut && denied(w, r, next)
	})
	if _, err := backup.Run(t.Context(), nc, s.place("s3://backups/f"), o); !errors.Is(err, backup.ErrDenied) || kept > 0 {
		t.Fatalf("%v, %d chunks were there", err, kept)
	}
	s.behave(nil)
	if _, err := backup.Run(t.Context(), nc, s.place("s3://backups/f"), o); err != nil || kept == 0 {
		t.Errorf("%v, %d chunks were there", err, kept)
	}
	entries, err := os.ReadDir(o.WorkDir)
	if err != nil || len(entries) != 1 || entries[0].Name() != ".fleet-backup.lock" {
		t.Errorf("the work directory has %v, %v", entries, err)
	}
}

// Somebody else may take a name below a directory that all may write to.
func TestTheWorkDirectoryOfAUserIsNobodyElses(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		before  func(dir string) error
		refused bool
	}{
		"it is made":                      {func(string) error { return nil }, false},
		"it is there":                     {func(dir string) error { return os.Mkdir(dir, 0o700) }, false},
		"others may write to it":          {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777)) }, true},
		"others may look into it":         {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o750)) }, true},
		"a link leads to somebody else's": {func(dir string) error { return os.Symlink(t.TempDir(), dir) }, true},
		"a file has its name":             {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, true},
	} {
		base := t.TempDir()
		fresh, err := backup.PrivateDir(base)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(fresh), c.before(fresh)); err != nil {
			t.Fatal(err)
		}
		dir, err := backup.PrivateDir(base)
		if (err != nil) != c.refused {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil {
			continue
		}
		if i, err := os.Stat(dir); err != nil || dir != fresh || i.Mode() != os.ModeDir|0o700 {
			t.Errorf("%s: %s, %v", what, dir, err)
		}
	}
}

func TestWhatAKilledRunLeftInADirectoryIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := backup.Directory(dir)
	made := backup.NameOf(logA, time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC))
	for name, age := range map[string]time.Duration{
		"." + made + "-123": 25 * time.Hour, "." + made + ".verified-77": 25 * time.Hour,
		"." + made + "-9": time.Hour, // another run may be writing it
		".mine-123":       25 * time.Hour, "." + made + "-x": 25 * time.Hour, made + "-4": 25 * time.Hour,
	} {
		file := filepath.Join(dir, name)
		write(t, file)
		at := time.Now().Add(-age)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "x")
	write(t, file)
	if err := p.Put(t.Context(), "a.archive", file, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"." + made + "-9": true, ".mine-123": true, "." + made + "-x": true, made + "-4": true, "a.archive": true}
	if diff := cmp.Diff(want, names(t, p)); diff != "" {
		t.Errorf("what is there (-want +got):\n%s", diff)
	}
}
