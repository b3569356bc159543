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
	ctx, cancel := contextFor(t, 15*time.Second) // in which the command begins on a busy machine
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

// A command that ends with 127 or 126 by itself is told with its output; only what
// Podman says of a command that it could not run is told as that.
func TestACommandThatIsMissingIsToldFromOneThatSaysSo(t *testing.T) {
	t.Parallel()
	s := start(t, podmantest.Options{})
	e := s.engine(t, "pi-01")
	c := run(t, e, web(t, "pi-01", ""))
	for name, test := range map[string]struct {
		argv   []string
		want   engine.ExecResult
		reason string // a part of Unstarted
	}{
		"a shell that misses what it calls": {[]string{"/hello", "-exit", "127", "sh: 1: curl: not found"}, engine.ExecResult{ExitCode: 127, Output: "sh: 1: curl: not found"}, ""},
		"a shell that may not run it":       {[]string{"/hello", "-exit", "126", "sh: 1: ./x: Permission denied"}, engine.ExecResult{ExitCode: 126, Output: "sh: 1: ./x: Permission denied"}, ""},
		"a command that is missing":         {[]string{"/no/such"}, engine.ExecResult{ExitCode: 127}, "/no/such"},
		"a command of no path":              {[]string{"nosuch"}, engine.ExecResult{ExitCode: 127}, "nosuch"},
		"a directory":                       {[]string{"/etc"}, engine.ExecResult{ExitCode: 126}, "permission denied"},
		"a command that a signal ends":      {[]string{"/hello", "-die"}, engine.ExecResult{ExitCode: 137}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := e.Exec(t.Context(), c.ID, test.argv)
			if err != nil {
				t.Fatal(err)
			}
			unstarted := got.Unstarted
			got.Unstarted = ""
			if got != test.want || (unstarted != "") != (test.reason != "") || !strings.Contains(unstarted, test.reason) {
				t.Errorf("%+v, not started because %q; want %+v, because %q", got, unstarted, test.want, test.reason)
			}
		})
	}
}
