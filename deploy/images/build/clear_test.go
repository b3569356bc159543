package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// left are the files of a folder after clear, of these before.
func left(t *testing.T, s settings, before ...string) (after []string) {
	t.Helper()
	s.out = t.TempDir()
	for _, name := range before {
		file := filepath.Join(s.out, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.clear(); err != nil {
		t.Fatal(err)
	}
	err := fs.WalkDir(os.DirFS(s.out), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			after = append(after, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func TestABuildLeavesNoArchiveAndNoProgramOfOneBefore(t *testing.T) {
	t.Parallel()
	ours := []string{"bin/linux-amd64/fleetctl", "bin/linux-arm-v7/fleetctl", "bin/linux-arm64/fleetctl"}
	archives := []string{"fleet-images-linux-amd64.tar", "fleet-images-linux-arm-v7.tar", "fleet-images-linux-arm64.tar"}
	theirs := []string{"bin/linux-s390x/fleetctl", "bin/notes", "fleet-images-linux-s390x.tar", "notes.tar"}
	all := slices.Concat(ours, archives, theirs)
	if diff := cmp.Diff(theirs, left(t, settings{compile: true}, all...)); diff != "" {
		t.Errorf("a build left (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(slices.Concat(ours, theirs))), left(t, settings{}, all...)); diff != "" {
		t.Errorf("without a compiler it left (-want +got)\n%s", diff)
	}
}
