package logstream_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

func TestALogThatIsBeingRestoredIsNoLogYet(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	if _, err := js.CreateStream(t.Context(), logstream.Restoring(1, "sha256:a")); err != nil {
		t.Fatal(err)
	}
	if _, err := logstream.Inspect(t.Context(), js); !errors.Is(err, logstream.ErrRestoring) {
		t.Errorf("Log: %v, want ErrRestoring", err)
	}
	if _, err := logstream.Ensure(t.Context(), js, logstream.Config{}); !errors.Is(err, logstream.ErrRestoring) {
		t.Errorf("EnsureLog: %v, want ErrRestoring", err)
	}
	for _, err := range reader.Read(t.Context(), js, reader.Options{}) {
		if !errors.Is(err, logstream.ErrRestoring) {
			t.Errorf("Read: %v, want ErrRestoring", err)
		}
	}
	if _, err := js.Publish(t.Context(), eventlog.StateSubject("pi-01", "web"), nil); err == nil {
		t.Error("a report came in between")
	}

	info, err := logstream.FinishRestore(t.Context(), js, logstream.Restored{Archive: "sha256:a", From: "old", Sequence: 7})
	if err != nil {
		t.Fatal(err)
	}
	if !info.Restored.Pending() || info.ID == "" || info.ID == "old" {
		t.Errorf("restored: %+v", info)
	}
	natstest.ReportState(t, js, "pi-01", "web")
}

func TestWhatALogKnowsOfItsRestoreIsKept(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	if _, err := js.CreateStream(t.Context(), logstream.Restoring(1, "sha256:a")); err != nil {
		t.Fatal(err)
	}
	want := logstream.Restored{Archive: "sha256:a", From: "old", Sequence: 7}
	restored, err := logstream.FinishRestore(t.Context(), js, want)
	if err != nil {
		t.Fatal(err)
	}
	config := logstream.Config{MaxBytes: 1 << 20}
	info, err := logstream.Ensure(t.Context(), js, config)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, info.Restored); diff != "" || info.ID != restored.ID {
		t.Errorf("log %s, was %s; (-want +got):\n%s", info.ID, restored.ID, diff)
	}
	for _, id := range []string{"another", restored.ID, restored.ID} {
		if err := logstream.Reconcile(t.Context(), js, id, want.Reconciled+9); err != nil {
			t.Fatal(err)
		}
		if id == restored.ID {
			want.Reconciled = 9 // the second time changes nothing
		}
	}
	if err := logstream.OpenReserve(t.Context(), js, config); err != nil {
		t.Fatal(err)
	}
	info, err = logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, info.Restored); diff != "" || info.Restored.Pending() {
		t.Errorf("pending %v; (-want +got):\n%s", info.Restored.Pending(), diff)
	}
}
