package archive_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/archive"
	"fleet.nationtech.io/projections/seal"
)

// sealed grows a tree over what the log has and appends its head; change may
// spoil it first.
func (w *world) sealed(key nkeys.KeyPair, change func(*eventlog.Seal)) {
	w.t.Helper()
	tree := seal.NewTree()
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			w.t.Fatal(err)
		}
		if err := tree.Add(e); err != nil {
			w.t.Fatal(err)
		}
	}
	s, err := seal.Sign(key, tree, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	if change != nil {
		change(&s)
	}
	w.say(eventlog.SealSubject, eventlog.SealCreated, s)
}

func TestTheSealsOfAnArchiveAreHeldAgainstItsEvents(t *testing.T) {
	t.Parallel()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change  func(*eventlog.Seal)
		trusted seal.Keys
		want    error
	}{
		"all hold":                  {},
		"all hold, by this key":     {trusted: seal.Keys{public}},
		"by another key":            {trusted: seal.Keys{"UOTHER"}, want: archive.ErrSeal},
		"one is over other events":  {change: func(s *eventlog.Seal) { s.RootHash[0]++ }, want: archive.ErrSeal},
		"one is over more than all": {change: func(s *eventlog.Seal) { s.TreeSize, s.Sequence = 1000, 1000 }, want: archive.ErrSeal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if _, err := logstream.Ensure(t.Context(), w.js, logstream.Config{}); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				w.put(eventlog.StateSubject("pi-00", "web"), "{}")
				w.sealed(key, nil)
			}
			w.put(eventlog.StateSubject("pi-00", "web"), "{}")
			w.sealed(key, c.change)
			path := file(t)
			w.archive(path, archive.CreateOptions{})
			m, err := archive.Check(t.Context(), path, archive.CheckOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := archive.CheckSeals(t.Context(), path, m, c.trusted, nil)
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err == nil && (got != archive.Sealed{Seals: 4, Covered: 7, Key: public}) {
				t.Errorf("%+v", got)
			}
		})
	}
}
