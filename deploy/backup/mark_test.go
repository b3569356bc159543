package backup_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/backup"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// put stores a text under a name.
func put(t *testing.T, p backup.Place, name, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Put(t.Context(), name, file, nil); err != nil {
		t.Fatal(err)
	}
}

// loseTail makes the log again with the same id and fewer events, as a server has it that
// lost its last appends in a power cut.
func loseTail(t *testing.T, nc *nats.Conn, left int) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), eventlog.LogStream)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Recreate(t, js, stream.CachedInfo().Config)
	grow(t, nc, left)
}

func TestNothingIsRemovedWhereTheLogLostItsTail(t *testing.T) {
	t.Parallel()
	for what, p := range places(t) {
		_, nc := aLog(t)
		clk := &clock{at: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)}
		o := backup.Options{Now: clk.now, WorkDir: workDir(t, p), Retention: backup.Retention{Count: 1}}
		run := func() (backup.Result, error) {
			t.Helper()
			clk.pass(24 * time.Hour)
			return backup.Run(t.Context(), nc, p, o)
		}
		longest, err := run()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		loseTail(t, nc, 150)
		stays := func(when string) {
			t.Helper()
			r, err := run()
			if !errors.Is(err, backup.ErrWentBack) || !strings.Contains(err.Error(), longest.Name+" goes to event 200") || len(r.Removed) > 0 || r.SHA256 == "" {
				t.Errorf("%s, %s: %v, removed %v", what, when, err, r.Removed)
			}
			if there := names(t, p); !there[longest.Name] || !there[longest.Name+".verified"] || !there[r.Name+".verified"] {
				t.Errorf("%s, %s: there are %v", what, when, there)
			}
		}
		stays("the log is shorter")
		stays("once more")
		grow(t, nc, 100)
		stays("the log has grown past what it lost")

		o.Retention = backup.Retention{}
		if _, err := run(); err != nil {
			t.Errorf("%s: with all kept, the newest older archive is compared alone: %v", what, err)
		}
		o.Retention = backup.Retention{Count: 1}
		for _, n := range []string{longest.Name, longest.Name + ".verified"} {
			if err := p.Remove(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := run(); err != nil || len(r.Removed) != 4 || len(r.Remain) != 1 {
			t.Errorf("%s: once a person has moved it: %v, removed %v", what, err, r.Removed)
		}
	}
}

// A mark that another version wrote does not say when the last event was recorded.
func TestAMarkWithoutATimeIsComparedByItsSequence(t *testing.T) {
	t.Parallel()
	_, nc := aLog(t)
	p := backup.Directory(t.TempDir())
	clk := &clock{at: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)}
	o := backup.Options{Now: clk.now, Retention: backup.Retention{Count: 1}}
	first, err := backup.Run(t.Context(), nc, p, o)
	if err != nil {
		t.Fatal(err)
	}
	for last, want := range map[int]error{200: nil, 201: backup.ErrWentBack} {
		put(t, p, first.Name, "x")
		put(t, p, first.Name+".verified", fmt.Sprintf(`{"sha256":"%064d","size":1,"events":%d,"last":%d}`, 0, last, last))
		clk.pass(24 * time.Hour)
		if _, err := backup.Run(t.Context(), nc, p, o); !errors.Is(err, want) {
			t.Errorf("a mark that ends at event %d: %v, want %v", last, err, want)
		}
	}
}

// After a power cut a file may have its name and not what was written to it.
func TestAnArchiveWhoseMarkIsEmptyIsNotVerified(t *testing.T) {
	t.Parallel()
	_, nc := aLog(t)
	for what, p := range places(t) {
		for content, text := range map[string]string{"empty": "", "cut short": `{"sha256":"00`, "of something else": `{}`} {
			clk := &clock{at: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)}
			o := backup.Options{Now: clk.now, WorkDir: workDir(t, p), Retention: backup.Retention{Count: 2}}
			good, err := backup.Run(t.Context(), nc, p, o)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			bad := backup.NameOf(good.Archive.LogID, clk.now().Add(time.Minute))
			put(t, p, bad, "x")
			put(t, p, bad+".verified", text)
			if a, err := backup.Newest(t.Context(), p); err != nil || a.Name != good.Name {
				t.Errorf("%s, a mark that is %s: newest %s, %v", what, content, a.Name, err)
			}
			if err := backup.Compare(t.Context(), p, bad, nil); !errors.Is(err, backup.ErrNotVerified) {
				t.Errorf("%s, a mark that is %s: %v", what, content, err)
			}
			clk.pass(48 * time.Hour)
			r, err := backup.Run(t.Context(), nc, p, o)
			if err != nil || len(r.Removed) != 1 || r.Removed[0] != bad || len(r.Remain) != 2 {
				t.Errorf("%s, a mark that is %s: %v, removed %v, there are %v", what, content, err, r.Removed, r.Remain)
			}
			for _, a := range r.Remain {
				if err := errors.Join(p.Remove(t.Context(), a.Name), p.Remove(t.Context(), a.Name+".verified")); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestAnArchiveIsComparedWithItsMark(t *testing.T) {
	t.Parallel()
	_, nc := aLog(t)
	for what, p := range places(t) {
		r, err := backup.Run(t.Context(), nc, p, backup.Options{WorkDir: workDir(t, p)})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := backup.Compare(t.Context(), p, r.Name, nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		put(t, p, r.Name, "another")
		file := filepath.Join(t.TempDir(), "fetched")
		for how, err := range map[string]error{"compared": backup.Compare(t.Context(), p, r.Name, nil), "fetched": backup.Fetch(t.Context(), p, r.Name, file, nil)} {
			if !errors.Is(err, backup.ErrNotVerified) {
				t.Errorf("%s, %s: %v", what, how, err)
			}
		}
	}
}
