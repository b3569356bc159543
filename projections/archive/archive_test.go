package archive_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/projections/archive"
)

func TestARestoredLogIsTheArchivedOneUnderAnotherID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fleet(150)
	log, buckets, first := messages(t.Context(), t, w.js, eventlog.LogStream), w.built(), w.log()
	path := file(t)
	made := w.archive(path, archive.CreateOptions{})
	if made.Messages != uint64(len(log)) || made.First.Sequence != 1 || made.Last.Sequence != first.Last || made.LogID != first.ID {
		t.Errorf("manifest: %s; the log has %d messages up to %d", jsonOf(t, made.Index), len(log), first.Last)
	}
	if len(made.Chunks) < 3 {
		t.Fatalf("%d chunks: the test wants several", len(made.Chunks))
	}
	if made.Seal == nil || made.Seal.Sequence != 3 || made.Seal.PublicKey != "UABC" || made.Seal.Event != first.Last-1 {
		t.Errorf("last seal: %+v", made.Seal)
	}

	var events []stored
	checked, err := archive.Check(t.Context(), path, archive.CheckOptions{Events: func(e eventlog.Event, _ error) error {
		events = append(events, stored{e.Sequence, e.Recorded, e.Subject, e.Header, string(e.Data)})
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if checked.ID != made.ID || checked.Size != made.Size {
		t.Errorf("read as %s of %d bytes, written as %s of %d", checked.ID, checked.Size, made.ID, made.Size)
	}
	if diff := cmp.Diff(log, events); diff != "" {
		t.Errorf("events in the file (-log +file):\n%.2000s", diff)
	}

	other := newWorld(t)
	out := other.restore(path)
	other.same(log, buckets)
	want := logstream.Restored{Archive: made.ID, From: first.ID, Sequence: first.Last}
	if diff := cmp.Diff(want, out.Log.Restored); diff != "" || out.Log.ID == first.ID || out.Resumed {
		t.Errorf("log %s (was %s), resumed %v (-want +got):\n%s", out.Log.ID, first.ID, out.Resumed, diff)
	}
	other.put(eventlog.StateSubject("pi-00", "web"), "{}")
	if at := other.log().Last; at != first.Last+1 {
		t.Errorf("the next event is %d, want %d", at, first.Last+1)
	}
}

func TestWhatIsThereIsNotReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := file(t)
	if _, err := archive.Create(t.Context(), w.nc, path, archive.CreateOptions{}); err == nil {
		t.Error("archived a log that is not there")
	}
	w.fleet(2)
	w.archive(path, archive.CreateOptions{})
	if _, err := archive.Create(t.Context(), w.nc, path, archive.CreateOptions{}); !errors.Is(err, archive.ErrExists) {
		t.Errorf("again: %v, want ErrExists", err)
	}
	w.archive(path, archive.CreateOptions{Replace: true})
}
