package imagestest

import (
	"debug/elf"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestMain(m *testing.M) { Main(m) }

// Tests of one process ask for other platforms, in whatever order they run.
func TestEveryCallerGetsItsPlatforms(t *testing.T) {
	t.Parallel()
	amd64, arm64 := v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}
	first := Programs(t, []v1.Platform{amd64})
	second := Programs(t, []v1.Platform{arm64, amd64})
	if first != second {
		t.Errorf("they are in %s and %s", first, second)
	}
	for name, machine := range map[string]elf.Machine{"linux-amd64": elf.EM_X86_64, "linux-arm64": elf.EM_AARCH64} {
		f, err := elf.Open(filepath.Join(second, name, Name))
		if err != nil {
			t.Error(err)
			continue
		}
		if f.Machine != machine {
			t.Errorf("%s has a program for %v", name, f.Machine)
		}
		_ = f.Close() // it was read only
	}
}
