//go:build e2e

// Package readme_test follows the README word for word, on real Podman.
package readme_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/walkthrough"
)

const root = "../../.."

// Sections that are followed elsewhere: what CI runs by itself, and what needs a cluster
// (deploy/e2e/cluster).
const (
	commands = "Two commands"
	cluster  = "Into a cluster"
)

// timeout is how long the walk may take on a machine that does much else: the tour waits
// for containers, and for rollouts that soak.
const timeout = 10 * time.Minute

func steps(t *testing.T, which func(walkthrough.Step) bool) []walkthrough.Step {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := walkthrough.Read(string(text))
	return slices.DeleteFunc(all, func(s walkthrough.Step) bool { return !which(s) })
}

func TestAReaderOfTheREADMESeesWhatItSays(t *testing.T) {
	tour := steps(t, func(s walkthrough.Step) bool { return s.Section != commands && s.Section != cluster })
	if len(tour) < 10 {
		t.Fatalf("the README has %d steps", len(tour))
	}
	built.Program(t, "kubeapi") // else make takes long
	service := podmantest.Start(t, podmantest.Options{})
	ctx, cancel := context.WithTimeoutCause(t.Context(), timeout, errors.New("it takes too long"))
	defer cancel()
	repository, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "fleet")
	if err := walkthrough.Clone(ctx, repository, dir, true); err != nil {
		t.Fatal(err)
	}
	env, err := walkthrough.Environment(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	env = append(env, "CONTAINER_HOST="+service.Socket())

	r := walkthrough.Reader{Dir: dir, Env: env, Scripts: t.TempDir(), Tell: t.Logf}
	if err := r.Follow(ctx, tour); err != nil {
		t.Fatal(err)
	}

	if names := service.CLI("ps", "--format", "{{.Names}}"); !strings.Contains(names, "edge-01-hello-web") {
		t.Errorf("after Ctrl-C the containers do not go on running: %q", names)
	}
	down := exec.CommandContext(ctx, filepath.Join(dir, "bin", "fleet-dev"), "down")
	down.Dir, down.Env = dir, env
	if out, err := down.CombinedOutput(); err != nil {
		t.Errorf("fleet-dev down: %v: %s", err, out)
	}
	if names := service.CLI("ps", "--all", "--format", "{{.Names}}"); strings.TrimSpace(names) != "" {
		t.Errorf("fleet-dev down left %q", names)
	}
}

// What the README begins with takes long, so that no test of Go runs it.
func TestCIRunsWhatTheREADMEBeginsWith(t *testing.T) {
	t.Parallel()
	ci, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	first := steps(t, func(s walkthrough.Step) bool { return s.Section == commands })
	if len(first) != 1 {
		t.Fatalf("the section %q has %d blocks", commands, len(first))
	}
	for line := range strings.Lines(first[0].Code) {
		command, _, _ := strings.Cut(line, "#")
		command = strings.TrimSpace(command)
		runs := func(of string) bool { return of == command || strings.HasPrefix(of, command+" ") }
		if !slices.ContainsFunc(strings.Split(string(ci), "\n"), runs) {
			t.Errorf(".ci/run does not run %s", command)
		}
	}
}
