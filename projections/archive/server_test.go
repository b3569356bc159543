package archive_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jsm.go"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/projections/archive"
	"fleet.nationtech.io/projections/buckets"
)

func TestAServerThatIsNotEmptyIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(2)
	path := file(t)
	w.archive(path, archive.CreateOptions{})
	for name, c := range map[string]struct {
		before func(*world)
		want   error
	}{
		"it has a log with events": {func(o *world) { o.fleet(1); o.built() }, archive.ErrLogThere},
		"it has buckets of another log": {func(o *world) {
			o.fleet(1)
			o.built()
			if err := o.js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
				t.Fatal(err)
			}
		}, archive.ErrBucketsThere},
		"the archive is restored, and the log went on": {func(o *world) {
			o.restore(path)
			o.put(eventlog.StateSubject("pi-00", "web"), "{}")
		}, archive.ErrGoneOn},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newWorld(t)
			c.before(o)
			before := o.values()
			if _, err := archive.Restore(t.Context(), o.nc, path, archive.RestoreOptions{}); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if len(before) == 0 || len(o.values()) != len(before) {
				t.Errorf("the buckets went from %d to %d values", len(before), len(o.values()))
			}
		})
	}
	// The log itself was lost, its buckets were not: they are its projections, and made again.
	log, kept := messages(t.Context(), t, w.js, eventlog.LogStream), w.built()
	if err := w.js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	w.restore(path)
	w.same(log, kept)
}

// An operator that runs makes an empty log as soon as there is none, and is
// elected in it. The restore takes its place.
func TestALogThatHoldsNothingButElectionsGivesWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(20)
	log, kept := messages(t.Context(), t, w.js, eventlog.LogStream), w.built()
	path := file(t)
	w.archive(path, archive.CreateOptions{})

	o := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		turn := time.NewTicker(30 * time.Millisecond) // an operator takes longer
		defer turn.Stop()
		for ; ctx.Err() == nil; <-turn.C {
			if _, err := logstream.Ensure(ctx, o.js, logstream.Config{}); err != nil {
				continue
			}
			a, err := appender.New(o.nc, appender.Options{Source: "operator"})
			if err != nil {
				return
			}
			if l, err := logstream.Inspect(ctx, o.js); err == nil && l.Last == 0 {
				_, _ = buckets.Ensure(ctx, o.js, buckets.Config{})
				_, _ = a.Elect(ctx, eventlog.Leader{Identity: "eager"}, time.Now())
			}
		}
	}()
	for {
		if l, err := logstream.Inspect(t.Context(), o.js); err == nil && l.Last > 0 {
			break
		}
		time.Sleep(time.Millisecond) // poll: it is elected
	}
	out := o.restore(path)
	stop()
	<-done
	if out.Log.Restored.Sequence != uint64(len(log)) {
		t.Errorf("restored %+v", out.Log)
	}
	got := messages(t.Context(), t, o.js, eventlog.LogStream)
	for last := len(got) - 1; got[last].Subject == eventlog.LeaderSubject; last-- {
		got = got[:last] // it may have been elected in the restored log: that is no loss
	}
	if diff := cmp.Diff(log, got); diff != "" {
		t.Errorf("the log (-first +restored):\n%.2000s", diff)
	}
	if diff := cmp.Diff(kept, o.built()); diff != "" {
		t.Errorf("the buckets (-first +restored):\n%.2000s", diff)
	}
}

func TestThreeServersAreRestoredWithThreeReplicas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(20)
	log, kept := messages(t.Context(), t, w.js, eventlog.LogStream), w.built()
	path := file(t)
	made := w.archive(path, archive.CreateOptions{})

	nc, js := natstest.Cluster(t, 3).Connect(t)
	o := &world{t: t, nc: nc, js: js}
	var out archive.Outcome
	for deadline := time.Now().Add(3 * time.Minute); ; { // three servers on a busy machine lose sight of each other
		var err error
		if out, err = archive.Restore(t.Context(), nc, path, archive.RestoreOptions{Replicas: 3}); err == nil {
			break
		}
		if t.Log(err); time.Now().After(deadline) {
			t.Fatal("not within 3 minutes")
		}
	}
	o.same(log, kept)
	if out.Log.Replicas != 3 {
		t.Errorf("%d replicas", out.Log.Replicas)
	}
	again := o.archive(file(t), archive.CreateOptions{})
	if again.Messages != made.Messages || again.Chunks[0].SHA256 != made.Chunks[0].SHA256 {
		t.Errorf("archived again: %d messages, first chunk %s; were %d, %s", again.Messages, again.Chunks[0].SHA256, made.Messages, made.Chunks[0].SHA256)
	}
}

func TestAForbiddenRequestIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Config(t, `accounts { FLEET { jetstream: enabled, users: [
		{ user: op, password: p }
		{ user: alice, password: p, permissions: { publish: { allow: ["$JS.API.INFO", "$JS.API.STREAM.INFO.*"] }, subscribe: { allow: [">"] } } }
	] } }`))
	nc, js := s.Connect(t, nats.UserInfo("op", "p"))
	w := &world{t: t, server: s, nc: nc, js: js}
	w.fleet(1)
	path := file(t)
	w.archive(path, archive.CreateOptions{})
	alice, _ := s.Connect(t, nats.UserInfo("alice", "p"))
	began := time.Now()
	if _, err := archive.Create(t.Context(), alice, file(t), archive.CreateOptions{}); !errors.Is(err, archive.ErrNotPermitted) {
		t.Errorf("archive: %v, want ErrNotPermitted", err)
	}
	if err := js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Restore(t.Context(), alice, path, archive.RestoreOptions{}); !errors.Is(err, archive.ErrNotPermitted) {
		t.Errorf("restore: %v, want ErrNotPermitted", err)
	}
	if took := time.Since(began); took >= 20*time.Second { // after which one request is given up
		t.Errorf("it took %v", took)
	}
}

// An archive outlives this program: its parts are what the server's own tools
// take.
func TestAnArchiveIsTheServersOwnSnapshotInParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(20)
	log := messages(t.Context(), t, w.js, eventlog.LogStream)
	path := file(t)
	w.archive(path, archive.CreateOptions{})
	dir := t.TempDir()
	script := `tar xf "$1" && (cd log && sha256sum * | while read -r sum name; do test "$sum" = "${name#*.}" || exit 1; done) &&
		cat log/* > stream.arc.s2`
	c := exec.Command("sh", "-c", script, "sh", path)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	o := newWorld(t)
	m, err := jsm.New(o.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.RestoreSnapshotFromDirectory(t.Context(), eventlog.LogStream, dir); err != nil {
		t.Fatal(err)
	}
	got := messages(t.Context(), t, o.js, eventlog.LogStream)
	if len(got) != len(log) || got[len(got)-1].Sequence != log[len(log)-1].Sequence {
		t.Errorf("%d messages, want %d", len(got), len(log))
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
		t.Error(err)
	}
}
