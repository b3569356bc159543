package podman_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/podmantest"
)

// A crash of Podman, or of the power, in the middle of a create leaves the name
// to a container that Podman does not know. It must not keep the service from
// running for ever.
func TestTheNameOfAnIncompleteContainerIsFreed(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	e := s.engine(t, "pi-01")
	spec := web(t, "pi-01", "")
	store := filepath.Join(filepath.Dir(strings.TrimPrefix(s.Socket(), "unix://")), "g")
	database := filepath.Join(store, "db.sql") // since Podman 5
	if _, err := os.Stat(database); err != nil {
		database = filepath.Join(store, "libpod", "bolt_state.db")
	}
	before, err := os.ReadFile(database)
	if err != nil {
		t.Fatalf("Podman keeps its records in neither db.sql nor bolt_state.db: %v", err)
	}
	half, err := e.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	s.Down()
	if err := os.WriteFile(database, before, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Up()
	id := ""
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); time.Sleep(500 * time.Millisecond) {
		if id, err = e.Create(t.Context(), spec); err == nil {
			break
		}
		mustBe(t, err, engine.ClassRetry, engine.ReasonNameTaken)
		var said *engine.Error
		if !errors.As(err, &said) || !strings.Contains(said.Error(), "incomplete container") {
			t.Fatalf("it says %v", err)
		}
	}
	if err != nil || id == half {
		t.Fatalf("made %.12s after %.12s: %v", id, half, err)
	}
	if err := e.Start(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if c := observed(t, e, id); c.State != engine.StateRunning {
		t.Errorf("it is %s", c.State)
	}
}
