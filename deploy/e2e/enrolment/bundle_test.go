//go:build e2e

package enrolment_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"fleet.nationtech.io/deploy/bundle"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/images"
)

// bundled is a bundle with the agent that make build made.
func bundled(t *testing.T) (file string) {
	t.Helper()
	dir, p := t.TempDir(), v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	agent := built.Program(t, "fleet-agent")
	to := filepath.Join(dir, images.FileName(p))
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(agent, filepath.Join(to, "fleet-agent")); err != nil {
		t.Fatal(err)
	}
	b, err := images.NewBuilder(images.Release{Version: "v0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	image, _, err := b.Build(images.Program{Name: "fleet-agent"}, []string{agent})
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "fleet.bundle")
	if _, err := bundle.Write(t.Context(), file, bundle.Contents{
		Platforms: []v1.Platform{p}, Images: images.Set{image}, Programs: []string{"fleet-agent"}, Dir: dir,
	}, nil); err != nil {
		t.Fatal(err)
	}
	return file
}
