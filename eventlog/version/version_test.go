package version

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestABinarySaysHowItWasBuilt(t *testing.T) {
	t.Parallel()
	setting := func(pairs ...string) (all []debug.BuildSetting) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return all
	}
	vcs := []string{"GOOS", "linux", "vcs.revision", "80805f9", "vcs.time", "2026-11-29T01:31:09Z"}
	for name, tt := range map[string]struct {
		settings []debug.BuildSetting
		want     string
	}{
		"from a commit":                  {setting(append(vcs, "GOARCH", "amd64", "vcs.modified", "false")...), "v1.2.3\ncommit 80805f9 of 2026-11-29T01:31:09Z, go1.26.5, linux/amd64\n"},
		"from a tree with changes":       {setting(append(vcs, "GOARCH", "arm64", "vcs.modified", "true")...), "v1.2.3\ncommit 80805f9 of 2026-11-29T01:31:09Z, with changes that were not committed, go1.26.5, linux/arm64\n"},
		"for 32-bit ARM":                 {setting(append(vcs, "GOARCH", "arm", "GOARM", "7,hardfloat")...), "v1.2.3\ncommit 80805f9 of 2026-11-29T01:31:09Z, go1.26.5, linux/arm/v7\n"},
		"from a tree that git knows not": {setting("GOOS", "linux", "GOARCH", "amd64"), "v1.2.3\ncommit unknown, go1.26.5, linux/amd64\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Of("v1.2.3", &debug.BuildInfo{GoVersion: "go1.26.5", Settings: tt.settings}).Text(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheRunningBinaryIsRead(t *testing.T) {
	t.Parallel()
	i := Read()
	if i.Version != "dev" || i.GoVersion != runtime.Version() || !strings.HasPrefix(i.Platform, runtime.GOOS+"/"+runtime.GOARCH) {
		t.Errorf("got %+v", i)
	}
}
