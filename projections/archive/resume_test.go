package archive_test

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/archive"
)

func TestAFullDiskIsReportedAndTheArchiveResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(150)
	path := file(t)
	o := archive.Faulty(archive.CreateOptions{}, 6<<20, syscall.ENOSPC)
	if _, err := archive.Create(t.Context(), w.nc, path, o); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%v, want ENOSPC", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a file that is not whole bears the name of one")
	}
	w.fleet(3) // the log goes on; what it had stays as it was
	found := 0
	made := w.archive(path, archive.CreateOptions{Kept: func(n int) { found = n }})
	if made.Kept == 0 || found != made.Kept || len(made.Chunks) <= made.Kept {
		t.Errorf("found %d chunks, kept %d of %d", found, made.Kept, len(made.Chunks))
	}
	if _, err := os.Stat(archive.PartialOf(path)); err == nil {
		t.Error("the file in the making is still there")
	}
	if _, err := archive.Check(t.Context(), path, archive.CheckOptions{}); err != nil {
		t.Error(err)
	}
}

func TestTwoRunsDoNotWriteOneFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(150)
	path := file(t)
	tried := false
	w.archive(path, archive.CreateOptions{Progress: func(uint64, uint64) {
		if !tried {
			tried = true
			if _, err := archive.Create(t.Context(), w.nc, path, archive.CreateOptions{}); !errors.Is(err, archive.ErrBusy) {
				t.Errorf("the second: %v, want ErrBusy", err)
			}
		}
	}})
	if _, err := archive.Check(t.Context(), path, archive.CheckOptions{}); err != nil || !tried {
		t.Error(err)
	}
}

func TestAFileInTheMakingIsOnlyKeptAsFarAsItIsSoundAndOfThisLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(150)
	whole := file(t)
	made := w.archive(whole, archive.CreateOptions{})
	sound, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t)
	other.fleet(3)
	for name, c := range map[string]struct {
		of      *world
		content func() []byte
		kept    int
	}{
		"a whole one":            {w, func() []byte { return sound }, len(made.Chunks)},
		"cut within a chunk":     {w, func() []byte { return sound[:made.Chunks[1].Offset+7] }, 1},
		"damaged within a chunk": {w, func() []byte { b := append([]byte(nil), sound...); b[made.Chunks[1].Offset+7]++; return b }, 1},
		"something else":         {w, func() []byte { return []byte("hello") }, 0},
		"of another log":         {other, func() []byte { return sound }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t)
			if err := os.WriteFile(archive.PartialOf(path), c.content(), 0o600); err != nil {
				t.Fatal(err)
			}
			got := c.of.archive(path, archive.CreateOptions{})
			if got.Kept != c.kept {
				t.Errorf("kept %d chunks, want %d", got.Kept, c.kept)
			}
			if _, err := archive.Check(t.Context(), path, archive.CheckOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestALostConnectionIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(150)
	log, buckets := messages(t.Context(), t, w.js, eventlog.LogStream), w.built()
	path := file(t)
	lost := 0
	restarted := false
	made := w.archive(path, archive.CreateOptions{
		Progress: func(done, total uint64) {
			if !restarted && done > total/3 {
				restarted = true
				w.server.Restart()
			}
		},
		Lost: func(err error) {
			if lost++; !errors.Is(err, archive.ErrLost) {
				t.Errorf("lost: %v", err)
			}
		},
	})
	if lost == 0 || made.Kept == 0 {
		t.Errorf("lost %d times; %d chunks were there the second time", lost, made.Kept)
	}

	other := newWorld(t)
	restarted, lost = false, 0
	out, err := archive.Restore(t.Context(), other.nc, path, archive.RestoreOptions{
		Progress: func(step archive.Step, done, total uint64) {
			if step == archive.StepSend && !restarted && done > total/2 {
				restarted = true
				other.server.Restart()
			}
		},
		Lost: func(error) { lost++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	if lost == 0 || out.Log.Last != made.Last.Sequence {
		t.Errorf("lost %d times; the log ends at %d, want %d", lost, out.Log.Last, made.Last.Sequence)
	}
	other.same(log, buckets)
}

// Guarantee: whatever cuts a restore short, running it again does what is left,
// and nobody reads or appends in between.
func TestARestoreThatWasCutShortIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(60)
	log, buckets := messages(t.Context(), t, w.js, eventlog.LogStream), w.built()
	path := file(t)
	made := w.archive(path, archive.CreateOptions{})

	half := func(t *testing.T, o *world) {
		stop := errors.New("the process ends here")
		_, err := archive.Restore(t.Context(), o.nc, path, archive.RestoreOptions{Progress: func(step archive.Step, done, total uint64) {
			if step == archive.StepSend && done > total/2 {
				panic(stop)
			}
		}})
		t.Errorf("not cut short: %v", err)
	}
	cut := func(t *testing.T, o *world) {
		defer func() { _ = recover() }()
		half(t, o)
	}
	for name, before := range map[string]func(*testing.T, *world){
		"while the log is sent": cut,
		"while the log is sent, and the server noticed": func(t *testing.T, o *world) {
			cut(t, o)
			deadline := time.Now().Add(time.Minute)
			for { // until the server gives up waiting for the rest, and shows what it has
				if _, err := logstream.Inspect(t.Context(), o.js); errors.Is(err, logstream.ErrRestoring) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the server shows no half restored log")
				}
				time.Sleep(50 * time.Millisecond)
			}
			if _, err := o.js.Publish(t.Context(), eventlog.StateSubject("pi-00", "web"), nil); err == nil {
				t.Error("a report came into half a log")
			}
		},
		"before it was put into service": func(t *testing.T, o *world) {
			o.restore(path)
			s, err := o.js.Stream(t.Context(), eventlog.LogStream)
			if err != nil {
				t.Fatal(err)
			}
			c := s.CachedInfo().Config
			c.Metadata = map[string]string{"fleet-log-id": "new", "fleet-restoring": made.ID}
			if _, err := o.js.UpdateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		},
		"before all buckets were built": func(t *testing.T, o *world) {
			o.restore(path)
			if err := o.js.DeleteStream(t.Context(), "KV_device-state"); err != nil {
				t.Fatal(err)
			}
		},
		"of another archive": func(t *testing.T, o *world) {
			if _, err := o.js.CreateStream(t.Context(), logstream.Restoring(1, "another")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newWorld(t)
			before(t, o)
			out := o.restore(path)
			o.same(log, buckets)
			if !out.Resumed || out.Log.Restored.Archive != made.ID || !out.Log.Restored.Pending() {
				t.Errorf("resumed %v, %+v", out.Resumed, out.Log)
			}
		})
	}
}
