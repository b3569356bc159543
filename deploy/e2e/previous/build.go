package previous

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fleet.nationtech.io/eventlog/needs"
)

// Tree is a release's files, with the programs that its own Makefile made of them.
type Tree struct {
	Release
	Dir string
}

// Build lays the previous release's files out in a directory of the test and compiles
// its programs there. They share the build cache with this release: what did not change
// since is not compiled again.
func Build(t testing.TB) Tree {
	t.Helper()
	needs.Program(t, "git", "apt-get install git")
	r, err := Pinned()
	if err != nil {
		t.Fatal(err)
	}
	repository, err := filepath.Abs(filepath.Join("..", "..", "..")) // seen from a package below deploy/e2e
	if err != nil {
		t.Fatal(err)
	}
	if err := r.check(t.Context(), repository); err != nil {
		t.Fatal(err)
	}
	tree := Tree{r, t.TempDir()}
	archive := filepath.Join(t.TempDir(), "release.tar")
	if _, err := git(t.Context(), repository, "archive", "--output", archive, r.Commit); err != nil {
		t.Fatal(err)
	}
	tree.run(t, "tar", "-xf", archive)
	tree.run(t, "make", "--no-print-directory", "bin/fleet-operator", "VERSION="+r.Version) // one recipe makes all
	return tree
}

func (r Tree) run(t testing.TB, program string, args ...string) {
	t.Helper()
	c := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	c.Dir = r.Dir
	for _, kv := range os.Environ() { // of a make that runs this test, and of another workspace
		if name, _, _ := strings.Cut(kv, "="); !strings.HasPrefix(name, "MAKE") && name != "MFLAGS" && name != "GOWORK" {
			c.Env = append(c.Env, kv)
		}
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s of %s: %v\n%s", program, r.Version, err, out)
	}
}

// Program is the path of one of its programs.
func (r Tree) Program(name string) string { return filepath.Join(r.Dir, "bin", name) }
