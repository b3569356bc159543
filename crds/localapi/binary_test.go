package localapi_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleet.nationtech.io/crds/localapi"
)

// Not parallel: the environment and the working directory are the process's.
func TestFindBinary(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	bin := filepath.Join(root, "bin", "kubeapi")
	for _, dir := range []string{deep, filepath.Dir(bin)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(deep)
	t.Setenv(localapi.BinaryEnv, "")
	t.Setenv("PATH", "")

	_, err := localapi.FindBinary()
	if !errors.Is(err, localapi.ErrNoBinary) || !strings.Contains(err.Error(), "run: make bin/kubeapi") {
		t.Errorf("nowhere: got %v, want what to run", err)
	}

	write(filepath.Join(root, "go.work"), 0o600)
	write(bin, 0o700)
	if got, err := localapi.FindBinary(); err != nil || got != bin {
		t.Errorf("beside go.work: got %q, %v, want %q", got, err, bin)
	}

	other := filepath.Join(root, "other")
	t.Setenv(localapi.BinaryEnv, other)
	if _, err := localapi.FindBinary(); err == nil || !strings.Contains(err.Error(), other) {
		t.Errorf("$%s to nothing: got %v, want an error that names it", localapi.BinaryEnv, err)
	}
	write(other, 0o700)
	if got, err := localapi.FindBinary(); err != nil || got != other {
		t.Errorf("$%s: got %q, %v, want %q", localapi.BinaryEnv, got, err, other)
	}
}
