// Package imagestest compiles a small program for several platforms, of which tests make
// images.
package imagestest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Name is what the program is called.
const Name = "fleet-test"

// source has no more than Go's runtime in it, so that it compiles at once.
const source = "package main\n\nfunc main() { println(\"I run\") }\n"

// shared has the programs that the tests of a process share.
var shared struct {
	sync.Mutex
	dir   string
	built map[string]bool // by platform
}

// Main runs the tests of a package that calls Programs, from its TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

// Programs gives a folder with the program for each platform, and maybe for others:
// linux-arm-v7/fleet-test.
func Programs(t testing.TB, platforms []v1.Platform) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.dir == "" {
		dir, err := os.MkdirTemp("", "images-")
		if err != nil {
			t.Fatal(err)
		}
		shared.dir, shared.built = dir, map[string]bool{}
	}
	for _, p := range platforms {
		name := strings.ReplaceAll(p.String(), "/", "-")
		if shared.built[name] {
			continue
		}
		to := filepath.Join(shared.dir, name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(Compile(t, p), filepath.Join(to, Name)); err != nil {
			t.Fatal(err)
		}
		shared.built[name] = true
	}
	return shared.dir
}

// Compile compiles the program for a platform in a folder of its own.
func Compile(t testing.TB, p v1.Platform) (path string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module fleet.example.org/test\n\ngo 1.26\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, Name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=", "GOOS="+p.OS, "GOARCH="+p.Architecture, "GOARM=7")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return path
}
