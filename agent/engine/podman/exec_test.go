package podman_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/podmantest"
)

// A command that never ends must not hold the caller longer than it wants, and
// the next ones must not heap up behind it.
func TestACommandThatHangsIsLeftAndNotJoined(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	e := s.engine(t, "pi-01")
	c := run(t, e, web(t, "pi-01", ""))
	ctx, cancel := contextFor(t, time.Second)
	defer cancel()
	begun := time.Now()
	if _, err := e.Exec(ctx, c.ID, []string{"/hello", "-talk"}); !errors.Is(err, ctx.Err()) || ctx.Err() == nil {
		t.Errorf("exec: %v", err)
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("exec took %s", took)
	}
	for range 3 {
		_, err := e.Exec(t.Context(), c.ID, []string{"/hello", "-check"})
		mustBe(t, err, engine.ClassRetry, engine.ReasonExecFailed)
	}
	observed(t, e, c.ID) // to look forgets nothing
	talking := func() int { return strings.Count(s.CLI("top", c.ID, "args"), "-talk") }
	if n := talking(); n != 1 {
		t.Fatalf("%d commands run in the container, want the one that was left", n)
	}
	// The container's next run is free of it.
	if err := e.Stop(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	result, err := e.Exec(t.Context(), c.ID, []string{"/hello", "-check"})
	if err != nil || result.ExitCode != 0 {
		t.Errorf("exec after a restart: %+v, %v", result, err)
	}
}
