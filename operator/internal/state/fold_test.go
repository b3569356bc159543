package state_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/fleet"
)

// running is a fold that runs, and what it told.
type running struct {
	*state.Fold
	ctx  context.Context
	stop func()

	mu    sync.Mutex
	keys  map[string]bool
	infos []string // messages of the log
}

func run(t *testing.T, js jetstream.JetStream, change ...func(*state.Options)) *running {
	t.Helper()
	r := &running{keys: map[string]bool{}}
	o := state.Options{JS: js, Logger: slog.New(r)}
	for _, c := range change {
		c(&o)
	}
	r.Fold = state.New(o)
	// No deadline, as in the operator: with one, a request that is lost while the
	// server restarts is waited for until then.
	ctx, cancel := context.WithCancel(t.Context())
	timeout := time.AfterFunc(3*time.Minute, cancel) // of a test on a busy machine
	t.Cleanup(func() { timeout.Stop() })
	r.ctx = ctx
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, r) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("fold: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// Changed implements state.Observer.
func (r *running) Changed(deployments []fleet.Key, devices []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range deployments {
		r.keys["deployment/"+k.String()] = true
	}
	for _, id := range devices {
		r.keys["device/"+id] = true
	}
}

// nobody observes the state.
type nobody struct{}

func (nobody) Changed([]fleet.Key, []string) {}

// Enabled, Handle, WithAttrs and WithGroup make it a slog.Handler.
func (r *running) Enabled(context.Context, slog.Level) bool { return true }

func (r *running) Handle(_ context.Context, m slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.infos = append(r.infos, m.Message)
	return nil
}

func (r *running) WithAttrs([]slog.Attr) slog.Handler { return r }

func (r *running) WithGroup(string) slog.Handler { return r }

func (r *running) said(message string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.infos, message)
}

// upTo waits for a sequence and gives the bytes of the view there.
func (r *running) upTo(t *testing.T, sequence uint64) []byte {
	t.Helper()
	if _, err := r.Await(r.ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.WaitFor(r.ctx, sequence); err != nil {
		t.Fatal(err)
	}
	var b []byte
	r.Do(func(s *decide.State) {
		if s.View().Sequence != sequence {
			t.Errorf("folded to sequence %d, want %d", s.View().Sequence, sequence)
		}
		b = asoftest.Encode(t, s.View())
	})
	return b
}

// told waits until the fold has told of all that it holds.
func (r *running) told(t *testing.T) []string {
	t.Helper()
	var want int
	r.Do(func(s *decide.State) { want = len(s.View().Deployments) + len(s.View().Devices) })
	for {
		r.mu.Lock()
		got := slices.Sorted(maps.Keys(r.keys))
		r.mu.Unlock()
		if len(got) >= want {
			return got
		}
		if r.ctx.Err() != nil {
			t.Fatalf("told of %d, want %d: %v", len(got), want, got)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func save(t *testing.T, js jetstream.JetStream, sequence uint64) {
	t.Helper()
	log, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	v, err := asof.AtSequence(t.Context(), js, log, sequence, asof.Options{NoCheckpoints: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (checkpoint.Store{JS: js}).Save(t.Context(), log.ID, v); err != nil {
		t.Fatal(err)
	}
}

const fromCheckpoint = "folding the event log from a checkpoint"

// All that the operator derives comes from the view and from being told what
// changed: both are the same, wherever the fold begins.
func TestAFoldFromACheckpointEqualsOneFromTheBeginning(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	l := asoftest.NewLife(t, js, 30)
	l.Append(500)
	save(t, js, 400)

	zero := run(t, js, func(o *state.Options) { o.NoCheckpoints = true })
	near := run(t, js)
	if !bytes.Equal(zero.upTo(t, 500), near.upTo(t, 500)) {
		t.Error("caught up, the views differ")
	}
	if zero.said(fromCheckpoint) || !near.said(fromCheckpoint) {
		t.Errorf("from a checkpoint: the one that should not %t, the one that should %t", zero.said(fromCheckpoint), near.said(fromCheckpoint))
	}
	if diff := cmp.Diff(zero.told(t), near.told(t)); diff != "" {
		t.Errorf("told of (-from the beginning +from a checkpoint)\n%s", diff)
	}
	l.Append(300)
	if !bytes.Equal(zero.upTo(t, 800), near.upTo(t, 800)) {
		t.Error("300 events later, the views differ")
	}
	if want := asoftest.Brute(t, js, 800)[800]; !bytes.Equal(near.upTo(t, 800), want) {
		t.Error("the view differs from the fold by brute force")
	}
}

// Who waits already when the fold begins from a checkpoint is released too.
func TestWaitersBeforeStartAreReleased(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	asoftest.NewLife(t, js, 5).Append(50)
	save(t, js, 50)
	f := state.New(state.Options{JS: js, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	waited := make(chan error, 1)
	go func() { waited <- f.WaitFor(ctx, 50) }()
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, nobody{}) }()
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// The log loses its tail and grows past it with other events, while checkpoints
// of what was lost are still there.
func TestALogThatWentBackIsFoldedAgainFromWhatStillHolds(t *testing.T) {
	t.Parallel()
	for name, follows := range map[string]bool{
		"while the fold runs": true, "before the fold runs": false,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t)
			_, js := s.Connect(t)
			asoftest.NewLife(t, js, 20).Append(200)
			dir := filepath.Join(s.Dir(), "jetstream", "$G", "streams", eventlog.LogStream)
			before := t.TempDir()
			s.Stop()
			if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			s.Start()
			_, js = s.Connect(t)
			asoftest.NewLife(t, js, 20).Append(200)
			for _, seq := range []uint64{150, 300, 400} {
				save(t, js, seq)
			}
			var r *running
			var lost <-chan struct{}
			if follows {
				r = run(t, js)
				r.upTo(t, 400)
				var err error
				if lost, err = r.Await(r.ctx); err != nil {
					t.Fatal(err)
				}
			}
			s.Stop()
			if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(before))); err != nil {
				t.Fatal(err)
			}
			s.Start()
			_, again := s.Connect(t)
			asoftest.NewLife(t, again, 7).Append(250)
			if follows {
				if err := r.Verify(r.ctx); err != nil {
					t.Fatal(err)
				}
				select {
				case <-lost:
				case <-r.ctx.Done():
					t.Fatal("a fold of what the log lost is held to be good")
				}
			} else {
				r = run(t, again)
			}
			if got, want := r.upTo(t, 450), asoftest.Brute(t, again, 450)[450]; !bytes.Equal(got, want) {
				t.Errorf("the view differs from the fold by brute force")
			}
			if !r.said(fromCheckpoint) {
				t.Error("the checkpoint at 150, which still holds, was not used")
			}
		})
	}
}

// A log that is another one altogether shares nothing with what was saved.
// A log that lost its tail and grew past where the fold stands looks the same from
// afar: the message at the fold's own sequence is another.
func TestAFoldOfALostTailIsNotVerifiedByALongerLog(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	asoftest.NewLife(t, js, 20).Append(20)
	dir := filepath.Join(s.Dir(), "jetstream", "$G", "streams", eventlog.LogStream)
	before := t.TempDir()
	s.Stop()
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	s.Start()
	_, js = s.Connect(t)
	asoftest.NewLife(t, js, 20).Append(20)
	r := run(t, js)
	r.upTo(t, 40)
	r.stop() // so that it cannot notice by itself
	if err := r.Verify(t.Context()); err != nil {
		t.Fatalf("a fold of the log as it is: %v", err)
	}
	s.Stop()
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(before))); err != nil {
		t.Fatal(err)
	}
	s.Start()
	_, again := s.Connect(t)
	asoftest.NewLife(t, again, 7).Append(40)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := r.Verify(ctx) // it waits until the fold is given up, and that one has ended
		cancel()
		if err == nil {
			t.Fatal("a fold of what the log lost is held to be good")
		}
		if js.Conn().IsConnected() && errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
}

func TestANewLogIsFoldedFromItsBeginning(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	asoftest.NewLife(t, js, 5).Append(100)
	save(t, js, 80)
	r := run(t, js)
	r.upTo(t, 100)
	lost, err := r.Await(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
		t.Fatal(err)
	}
	asoftest.NewLife(t, js, 3).Append(120)
	select {
	case <-lost:
	case <-r.ctx.Done():
		t.Fatal("a fold of another log is held to be good")
	}
	if got, want := r.upTo(t, 120), asoftest.Brute(t, js, 120)[120]; !bytes.Equal(got, want) {
		t.Error("the view differs from the fold by brute force")
	}
}

// A damaged checkpoint is said, and costs no more than time.
func TestADamagedCheckpointIsSkipped(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	asoftest.NewLife(t, js, 5).Append(100)
	save(t, js, 50)
	save(t, js, 80)
	log, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.ObjectStore(t.Context(), eventlog.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	name := checkpoint.Key{Fold: fleet.FoldVersion, LogID: log.ID, Sequence: 80}.Name()
	if _, err := bucket.PutString(t.Context(), name, "no checkpoint"); err != nil {
		t.Fatal(err)
	}
	r := run(t, js)
	if got, want := r.upTo(t, 100), asoftest.Brute(t, js, 100)[100]; !bytes.Equal(got, want) {
		t.Error("the view differs from the fold by brute force")
	}
	for _, m := range []string{fromCheckpoint, "skipping an unusable checkpoint; the start takes longer"} {
		if !r.said(m) {
			t.Errorf("not said: %s", m)
		}
	}
}
