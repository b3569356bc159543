package backup_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/backup"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/archive"
)

func places(t *testing.T) map[string]backup.Place {
	t.Helper()
	return map[string]backup.Place{
		"a directory": backup.Directory(t.TempDir()), "a bucket": newStore(t).place("s3://backups"), "a prefix": newStore(t).place("s3://backups/fleet/nightly"),
	}
}

func TestAPlaceKeepsWhatItIsGiven(t *testing.T) {
	t.Parallel()
	for what, p := range places(t) {
		file := filepath.Join(t.TempDir(), "x")
		content := bytes.Repeat([]byte("fleet"), 100_000)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var seen uint64
		if err := p.Put(t.Context(), "a.archive", file, func(done, _ uint64) { seen = done }); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var got bytes.Buffer
		if err := p.Get(t.Context(), "a.archive", &got, nil); err != nil || !bytes.Equal(got.Bytes(), content) {
			t.Errorf("%s: %v, %d bytes", what, err, got.Len())
		}
		if seen == 0 {
			t.Errorf("%s: no progress was told", what)
		}
		if err := p.Get(t.Context(), "none", &got, nil); !errors.Is(err, backup.ErrMissing) {
			t.Errorf("%s: what is missing: %v", what, err)
		}
		if diff := cmp.Diff(map[string]bool{"a.archive": true}, names(t, p)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		for range 2 {
			if err := p.Remove(t.Context(), "a.archive"); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if len(names(t, p)) > 0 {
			t.Errorf("%s still has what was removed", what)
		}
	}
}

func TestBackupsAreVerifiedKeptAndRestored(t *testing.T) {
	t.Parallel()
	_, nc := aLog(t)
	for what, p := range places(t) {
		c := &clock{at: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)}
		stranger := filepath.Join(t.TempDir(), "stranger")
		if err := os.WriteFile(stranger, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Put(t.Context(), "fleet-stranger.archive", stranger, nil); err != nil {
			t.Fatal(err)
		}
		var last backup.Result
		for range 5 {
			c.pass(24 * time.Hour)
			var err error
			last, err = backup.Run(t.Context(), nc, p, backup.Options{Now: c.now, WorkDir: workDir(t, p), Retention: backup.Retention{Count: 2, Age: 60 * time.Hour}})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if len(last.Remain) != 3 || len(last.Removed) != 1 || !last.Remain[0].Verified || last.Remain[0].Name != last.Name {
			t.Errorf("%s: %+v", what, last)
		}
		all := names(t, p)
		delete(all, ".fleet-backup.lock") // of the work directory, which a directory is itself
		if len(all) != 7 || !all["fleet-stranger.archive"] {
			t.Errorf("%s has %v", what, all)
		}
		newest, err := backup.Newest(t.Context(), p)
		if err != nil || newest.Name != last.Name {
			t.Fatalf("%s: newest %v, %v", what, newest, err)
		}
		file := filepath.Join(t.TempDir(), "fetched")
		if err := backup.Fetch(t.Context(), p, newest.Name, file, nil); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		into, _ := natstest.Start(t).Connect(t)
		out, err := archive.Restore(t.Context(), into, file, archive.RestoreOptions{})
		if err != nil || out.Messages != 200 {
			t.Errorf("%s: restored %d events, %v", what, out.Messages, err)
		}
	}
}

// workDir is empty for a directory, where the archive is made in place.
func workDir(t *testing.T, p backup.Place) string {
	t.Helper()
	if _, ok := p.(backup.Directory); ok {
		return ""
	}
	return t.TempDir()
}

func TestABackupThatFailsRemovesNothingAndSaysWhy(t *testing.T) {
	t.Parallel()
	_, nc := aLog(t)
	for what, c := range map[string]struct {
		fault   func(http.ResponseWriter, *http.Request, http.Handler) bool
		want    []error
		silence time.Duration // that the run with the fault bears; 0: as in production
	}{
		"403": {fault: denied, want: []error{backup.ErrDenied}},
		"403 when it stores": {fault: func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
			return r.Method == http.MethodPut && denied(w, r, next)
		}, want: []error{backup.ErrDenied}},
		"no answer": {stalled, []error{backup.ErrUnreachable}, time.Second},
		"no answer when it stores": {func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
			return r.Method == http.MethodPut && stalled(w, r, next)
		}, []error{backup.ErrUnreachable}, time.Second},
		"a connection that is cut each time it stores": {fault: func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if r.Method == http.MethodPut {
				_, _ = r.Body.Read(make([]byte, 4096))
				panic(http.ErrAbortHandler)
			}
			return false
		}, want: []error{backup.ErrUnreachable}},
		"what is read back differs":         {fault: damage, want: []error{backup.ErrNotVerified}},
		"what is read back is cut for ever": {fault: cut(0, 1000), want: []error{backup.ErrUnreachable}},
		"the new archive is not listed": {fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
			if r.Method == http.MethodGet && r.URL.Query().Has("list-type") {
				w.Header().Set("Content-Type", "application/xml")
				_, _ = w.Write([]byte(`<ListBucketResult><Name>backups</Name><IsTruncated>false</IsTruncated></ListBucketResult>`))
				return true
			}
			return false
		}, want: []error{backup.ErrNotVerified}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			p := s.place("s3://backups/f")
			clk := &clock{at: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)}
			o := backup.Options{Now: clk.now, WorkDir: t.TempDir(), Retention: backup.Retention{Count: 1}}
			if _, err := backup.Run(t.Context(), nc, p, o); err != nil {
				t.Fatal(err)
			}
			clk.pass(24 * time.Hour)
			before := names(t, p)
			s.behave(c.fault)
			faulty := s.place("s3://backups/f")
			if c.silence > 0 {
				faulty = backup.Impatient(faulty, c.silence)
			}
			_, err := backup.Run(t.Context(), nc, faulty, o)
			if !either(err, c.want...) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "very-secret") {
				t.Errorf("the error has a secret: %v", err)
			}
			s.behave(nil)
			after := names(t, p)
			for n := range before {
				if !after[n] {
					t.Errorf("%s was removed", n)
				}
			}
			newest, err := backup.Newest(t.Context(), p)
			if err != nil || !errors.Is(c.want[0], backup.ErrNotVerified) && !before[newest.Name] {
				t.Errorf("newest verified: %v, %v", newest, err)
			}
			r, err := backup.Run(t.Context(), nc, p, o)
			if err != nil || len(r.Removed) == 0 {
				t.Errorf("once that is mended: %v, removed %v", err, r.Removed)
			}
		})
	}
}

func TestAConnectionThatIsCutIsGoneOnWith(t *testing.T) {
	t.Parallel()
	_, nc := aLog(t)
	s := newStore(t)
	p := s.place("s3://backups/f")
	stored := 0
	whole := cut(2000, 2)
	s.behave(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".archive") {
			if stored++; stored == 1 {
				_, _ = r.Body.Read(make([]byte, 4096))
				panic(http.ErrAbortHandler)
			}
		}
		return whole(w, r, next)
	})
	r, err := backup.Run(t.Context(), nc, p, backup.Options{WorkDir: t.TempDir()})
	if err != nil || r.SHA256 == "" {
		t.Fatalf("%v, %+v", err, r)
	}
	if stored < 2 {
		t.Errorf("it was stored %d times; it was to be cut", stored)
	}
}

func TestAFileOfSeveralPartsIsStoredThoughAConnectionIsCut(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.place("s3://backups/f")
	file := filepath.Join(t.TempDir(), "large")
	content := make([]byte, 35<<20)
	for i := range content {
		content[i] = byte(i >> 12)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	parts, reading := map[string]int{}, cut(20<<20, 1)
	var mu sync.Mutex
	s.behave(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if n := r.URL.Query().Get("partNumber"); n != "" {
			mu.Lock()
			parts[n]++
			first := n == "2" && parts[n] == 1
			mu.Unlock()
			if first {
				_, _ = r.Body.Read(make([]byte, 1<<20))
				panic(http.ErrAbortHandler)
			}
		}
		return reading(w, r, next)
	})
	if err := p.Put(t.Context(), "large.archive", file, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"1": 1, "2": 2, "3": 1}, parts); diff != "" {
		t.Errorf("how often each part was sent (-want +got):\n%s", diff)
	}
	var got bytes.Buffer
	if err := p.Get(t.Context(), "large.archive", &got, nil); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("%v, %d bytes", err, got.Len())
	}
}

// A slow line sends for longer than it may be silent.
func TestASlowStoreIsWaitedForAsLongAsBytesFlow(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	const silence = 10 * time.Second
	p := backup.Impatient(s.place("s3://backups/f"), silence)
	file := filepath.Join(t.TempDir(), "slow")
	content := bytes.Repeat([]byte("x"), 14<<20)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s.behave(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if r.Method == http.MethodPut {
			r.Body = &slowBody{r.Body, 14, 800 * time.Millisecond}
		}
		return false
	})
	began := time.Now()
	if err := p.Put(t.Context(), "slow.archive", file, nil); err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if took := time.Since(began); took < silence {
		t.Errorf("it took %v, which is not slow", took)
	}
}

// slowBody pauses so many times, each after a MiB.
type slowBody struct {
	io.ReadCloser
	pauses int
	pause  time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(p) > 1<<20 {
		p = p[:1<<20]
	}
	n, err := io.ReadFull(b.ReadCloser, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if b.pauses > 0 {
		b.pauses--
		time.Sleep(b.pause)
	}
	return n, err
}

func TestAnOldArchiveThatStaysIsNoFailureOfTheBackup(t *testing.T) {
	t.Parallel()
	_, nc := aLog(t)
	s := newStore(t)
	p := s.place("s3://backups/f")
	clk := &clock{at: time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)}
	o := backup.Options{Now: clk.now, WorkDir: t.TempDir(), Retention: backup.Retention{Count: 1}}
	if _, err := backup.Run(t.Context(), nc, p, o); err != nil {
		t.Fatal(err)
	}
	clk.pass(time.Hour)
	s.behave(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		return r.Method == http.MethodDelete && denied(w, r, next)
	})
	r, err := backup.Run(t.Context(), nc, p, o)
	if !errors.Is(err, backup.ErrNotRemoved) || !errors.Is(err, backup.ErrDenied) || r.SHA256 == "" || len(r.Remain) != 2 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestWhatIsNoPlaceIsRefused(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for text, want := range map[string]error{
		"s3://": backup.ErrSettings, "s3://UPPER/x": backup.ErrSettings, "s3://nobody/x": backup.ErrNoPlace, "/nowhere/at/all/": backup.ErrNoPlace,
	} {
		p, _, err := backup.Open(text, s.env)
		if err == nil {
			_, err = p.List(t.Context())
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	for _, endpoint := range []string{"ftp://x", "https://user:secret@x", "x", "https://"} {
		_, _, err := backup.Open("s3://backups", func(k string) string { return map[string]string{backup.EnvEndpoint: endpoint}[k] })
		if !errors.Is(err, backup.ErrSettings) || strings.Contains(err.Error(), "secret") {
			t.Errorf("endpoint %s: %v", endpoint, err)
		}
	}
	if _, name, err := backup.Open("s3://backups/a/fleet-x.archive", s.env); err != nil || name != "fleet-x.archive" {
		t.Errorf("a name: %q, %v", name, err)
	}
}

func TestARestoreTakesTheNewestOfOneLogAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := backup.Directory(dir)
	if _, err := backup.Newest(t.Context(), p); !errors.Is(err, backup.ErrNone) {
		t.Errorf("an empty place: %v", err)
	}
	at := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	for name, verified := range map[string]bool{
		backup.NameOf(logA, at): true, backup.NameOf(logA, at.Add(time.Hour)): true, backup.NameOf(logA, at.Add(2*time.Hour)): false,
	} {
		write(t, filepath.Join(dir, name))
		if verified {
			put(t, p, name+".verified", aMark)
		}
	}
	if a, err := backup.Newest(t.Context(), p); err != nil || a.Name != backup.NameOf(logA, at.Add(time.Hour)) {
		t.Errorf("newest: %v, %v", a, err)
	}
	write(t, filepath.Join(dir, backup.NameOf(logB, at)))
	put(t, p, backup.NameOf(logB, at)+".verified", aMark)
	if _, err := backup.Newest(t.Context(), p); !errors.Is(err, backup.ErrAmbiguous) {
		t.Errorf("two logs: %v", err)
	}
}

const aMark = `{"sha256":"0000000000000000000000000000000000000000000000000000000000000000"}`

func write(t *testing.T, file string) {
	t.Helper()
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}
