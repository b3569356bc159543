package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog"
)

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func shut(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestARestartFindsWhatWasApplied(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "agent.db")
	s := open(t, path)
	web := store.Desired{Deployment: "web", Namespace: "default", Revision: 2, Sequence: 7, Value: []byte(`{"type":"PodmanV0"}`)}
	old := store.Desired{Deployment: "old", Sequence: 9, Withdrawn: true}
	at := store.Position{LogID: "log", Sequence: 9}
	for _, d := range []store.Desired{web, old} {
		if err := s.Apply([]store.Desired{d}, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remember("plan", []byte("x")); err != nil {
		t.Fatal(err)
	}
	epoch := s.Epoch()
	shut(t, s)

	s = open(t, path)
	defer shut(t, s)
	if diff := cmp.Diff([]store.Desired{old, web}, s.Desired()); diff != "" {
		t.Error("desired (-want +got)\n" + diff)
	}
	if got := s.Position(); got != at {
		t.Errorf("position %v, want %v", got, at)
	}
	if s.Epoch() != epoch || epoch == "" {
		t.Errorf("epoch %q, want %q", s.Epoch(), epoch)
	}
	if v, err := s.Recall("plan"); err != nil || string(v) != "x" {
		t.Errorf("recall: %q, %v", v, err)
	}
	if v, err := s.Recall("nothing"); err != nil || v != nil {
		t.Errorf("recall nothing: %q, %v", v, err)
	}
}

func TestNoNumberIsUsedTwice(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.db")
	var last uint64
	for range 3 {
		s := open(t, path)
		for range 4 {
			c, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if c.N != last+1 || c.Epoch != s.Epoch() {
				t.Fatalf("counter %v after %d", c, last)
			}
			last = c.N
		}
		shut(t, s)
	}
}

func TestOutboxKeepsOrderIdAndNumberOverARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	if _, _, ok, err := s.Head(); ok || err != nil {
		t.Fatalf("an empty outbox has a head (%v, %v)", ok, err)
	}
	at := time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	for i := range 3 {
		if _, err := s.Enqueue(store.Record{Type: eventlog.AgentStepFailed, Time: at, Data: fmt.Appendf(nil, "%d", i), Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}); err != nil {
			t.Fatal(err)
		}
	}
	first, n, ok, err := s.Head()
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	shut(t, s) // the process dies with the message in flight

	s = open(t, path)
	defer shut(t, s)
	again, m, ok, err := s.Head()
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if diff := cmp.Diff(first, again, cmpopts.IgnoreUnexported(store.Record{})); diff != "" || n != m {
		t.Errorf("number %v, want %v; (-want +got)\n%s", m, n, diff)
	}
	for i := range 3 {
		r, c, ok, err := s.Head()
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if string(r.Data) != fmt.Sprint(i) || !r.Time.Equal(at) || c.N != n.N+uint64(i) {
			t.Errorf("%d: %s at %v, number %v", i, r.Data, r.Time, c)
		}
		if err := s.Done(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, ok, err := s.Head(); ok || err != nil {
		t.Fatalf("the outbox is not empty (%v, %v)", ok, err)
	}
}

func TestADamagedStoreIsSetAsideAndRecreated(t *testing.T) {
	t.Parallel()
	whole := func(t *testing.T) []byte {
		path := filepath.Join(t.TempDir(), "agent.db")
		s := open(t, path)
		for i := range 40 {
			d := store.Desired{Deployment: fmt.Sprintf("d%d", i), Sequence: 1, Value: bytes.Repeat([]byte("x"), 3000)}
			if err := s.Apply([]store.Desired{d}, store.Position{LogID: "log", Sequence: 1}); err != nil {
				t.Fatal(err)
			}
		}
		shut(t, s)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := map[string]func(b []byte) []byte{
		"it is text":                         func([]byte) []byte { return bytes.Repeat([]byte("this is no store\n"), 1000) },
		"its tail is lost":                   func(b []byte) []byte { return b[:len(b)/2/4096*4096] },
		"all but its heads is zero":          func(b []byte) []byte { clear(b[2*4096:]); return b },
		"all but its heads is noise":         func(b []byte) []byte { return noise(b, 2*4096) },
		"its heads are zero":                 func(b []byte) []byte { clear(b[:2*4096]); return b },
		"it is one byte":                     func([]byte) []byte { return []byte{1} },
		"its values are other than expected": func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"deployment"`), []byte(`"DEPLOYMENX"`)) },
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "agent.db")
			if err := os.WriteFile(path, damage(whole(t)), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			s, err := store.Open(path, store.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer shut(t, s)
			if n := len(s.Desired()); n != 0 {
				t.Errorf("%d desired in a new store", n)
			}
			if _, err := s.Next(); err != nil {
				t.Error(err)
			}
			if aside, err := filepath.Glob(path + ".damaged-*"); len(aside) != 1 || err != nil {
				t.Errorf("set aside: %v, %v", aside, err)
			}
			if !bytes.Contains(log.Bytes(), []byte("the store was damaged")) {
				t.Errorf("log: %s", log.Bytes())
			}
		})
	}
}

func noise(b []byte, from int) []byte {
	for i := from; i < len(b); i++ {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestAnEmptyFileIsANewStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shut(t, open(t, path))
}

func TestTwoProcessesDoNotShareAStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	defer shut(t, s)
	if _, err := store.Open(path, store.Options{}); !errors.Is(err, store.ErrInUse) {
		t.Errorf("error %v, want ErrInUse", err)
	}
}
