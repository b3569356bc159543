package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/eventlog/needs"
)

// disk is the open file of a store, whose writes a test makes fail as a disk that
// is full or was mounted read-only does.
type disk struct {
	t    *testing.T
	path string
	fd   int
}

func diskOf(t *testing.T, path string) *disk {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		needs.Missing(t, "there is no /proc to find the store's file by")
	}
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && target == path {
			d := &disk{t: t, path: path}
			if _, err := fmt.Sscan(fd.Name(), &d.fd); err != nil {
				t.Fatal(err)
			}
			return d
		}
	}
	t.Fatalf("no open file is %s", path)
	return nil
}

func (d *disk) reopen(flag int) {
	d.t.Helper()
	f, err := unix.Open(d.path, flag|unix.O_CLOEXEC, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := unix.Dup3(f, d.fd, unix.O_CLOEXEC); err != nil {
		d.t.Fatal(err)
	}
	if err := unix.Close(f); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) fail() { d.t.Helper(); d.reopen(unix.O_RDONLY) }
func (d *disk) mend() { d.t.Helper(); d.reopen(unix.O_RDWR) }

// A device whose disk was full for a while, and that then loses power, runs what
// the log said meanwhile.
func TestWhatCouldNotBeWrittenIsWrittenWithTheNext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	d := diskOf(t, path)
	web := store.Desired{Deployment: "web", Revision: 1, Sequence: 7, Value: []byte(`{}`)}
	db := store.Desired{Deployment: "db", Revision: 1, Sequence: 8, Value: []byte(`{}`)}
	d.fail()
	if err := s.Apply([]store.Desired{web}, store.Position{LogID: "log", Sequence: 7}); err == nil {
		t.Fatal("the disk did not fail: the test proves nothing")
	}
	if diff := cmp.Diff([]store.Desired{web}, s.Desired()); diff != "" {
		t.Errorf("desired while the disk is full (-want +got)\n%s", diff)
	}
	d.mend()
	if err := s.Apply([]store.Desired{db}, store.Position{LogID: "log", Sequence: 8}); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	s = open(t, path)
	defer shut(t, s)
	if diff := cmp.Diff([]store.Desired{db, web}, s.Desired()); diff != "" {
		t.Errorf("desired after a restart (-want +got)\n%s", diff)
	}
}

// The same where nothing more is learned: the position alone is applied again.
func TestWhatCouldNotBeWrittenIsWrittenAlsoWhereNothingChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.db")
	s := open(t, path)
	d := diskOf(t, path)
	web := store.Desired{Deployment: "web", Revision: 1, Sequence: 7, Value: []byte(`{}`)}
	at := store.Position{LogID: "log", Sequence: 7}
	d.fail()
	if err := s.Apply([]store.Desired{web}, at); err == nil {
		t.Fatal("the disk did not fail: the test proves nothing")
	}
	d.mend()
	if err := s.Apply(nil, at); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	s = open(t, path)
	defer shut(t, s)
	if diff := cmp.Diff([]store.Desired{web}, s.Desired()); diff != "" {
		t.Errorf("desired after a restart (-want +got)\n%s", diff)
	}
}
