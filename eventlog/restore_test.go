package eventlog_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

func TestALogThatIsBeingRestoredIsNoLogYet(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	_, js := s.Connect(t)
	if _, err := js.CreateStream(t.Context(), eventlog.RestoringStream(1, "sha256:a")); err != nil {
		t.Fatal(err)
	}
	if _, err := eventlog.Log(t.Context(), js); !errors.Is(err, eventlog.ErrRestoring) {
		t.Errorf("Log: %v, want ErrRestoring", err)
	}
	if _, err := eventlog.EnsureLog(t.Context(), js, eventlog.LogConfig{}); !errors.Is(err, eventlog.ErrRestoring) {
		t.Errorf("EnsureLog: %v, want ErrRestoring", err)
	}
	for _, err := range eventlog.Read(t.Context(), js, eventlog.ReadOptions{}) {
		if !errors.Is(err, eventlog.ErrRestoring) {
			t.Errorf("Read: %v, want ErrRestoring", err)
		}
	}
	if _, err := js.Publish(t.Context(), eventlog.StateSubject("pi-01", "web"), nil); err == nil {
		t.Error("a report came in between")
	}

	info, err := eventlog.FinishRestore(t.Context(), js, eventlog.Restored{Archive: "sha256:a", From: "old", Sequence: 7})
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
	if _, err := js.CreateStream(t.Context(), eventlog.RestoringStream(1, "sha256:a")); err != nil {
		t.Fatal(err)
	}
	want := eventlog.Restored{Archive: "sha256:a", From: "old", Sequence: 7}
	restored, err := eventlog.FinishRestore(t.Context(), js, want)
	if err != nil {
		t.Fatal(err)
	}
	config := eventlog.LogConfig{MaxBytes: 1 << 20}
	info, err := eventlog.EnsureLog(t.Context(), js, config)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, info.Restored); diff != "" || info.ID != restored.ID {
		t.Errorf("log %s, was %s; (-want +got):\n%s", info.ID, restored.ID, diff)
	}
	for _, id := range []string{"another", restored.ID, restored.ID} {
		if err := eventlog.Reconcile(t.Context(), js, id, want.Reconciled+9); err != nil {
			t.Fatal(err)
		}
		if id == restored.ID {
			want.Reconciled = 9 // the second time changes nothing
		}
	}
	if err := eventlog.OpenReserve(t.Context(), js, config); err != nil {
		t.Fatal(err)
	}
	info, err = eventlog.Log(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, info.Restored); diff != "" || info.Restored.Pending() {
		t.Errorf("pending %v; (-want +got):\n%s", info.Restored.Pending(), diff)
	}
}
