package previous

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/install"
	"fleet.nationtech.io/eventlog/needs"
)

func TestThePreviousReleaseIsOneTagAndItsCommit(t *testing.T) {
	t.Parallel()
	commit := strings.Repeat("0a", 20)
	for name, tt := range map[string]struct{ text, refused string }{
		"one":                         {"# why\n\nv0.1.0 " + commit + "\n", ""},
		"none":                        {"# why\n", "names 0 releases"},
		"two":                         {"v0.1.0 " + commit + "\nv0.2.0 " + commit, "names 2 releases"},
		"a commit that is cut short":  {"v0.1.0 0a0a0a0", "is not a tag"},
		"a build that is no release":  {"v0.1.0-3-gabc " + commit, "is not a tag"},
		"something behind the commit": {"v0.1.0 " + commit + " # why", "is not a tag"},
	} {
		r, err := parse(tt.text)
		switch {
		case tt.refused == "" && (err != nil || r != Release{"v0.1.0", commit}):
			t.Errorf("%s: got %+v, %v", name, r, err)
		case tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)):
			t.Errorf("%s: got %v, want %q", name, err, tt.refused)
		}
	}
	if _, err := Pinned(); err != nil {
		t.Error(err)
	}
}

// repository makes one of two commits and gives them.
func repository(t *testing.T) (dir string, commits []string) {
	t.Helper()
	needs.Program(t, "git", "apt-get install git")
	dir = t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		out, err := git(t.Context(), dir, append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run("init", "--quiet")
	for range 2 {
		run("commit", "--quiet", "--allow-empty", "-m", "one more")
		commits = append(commits, run("rev-parse", "HEAD"))
	}
	return dir, commits
}

func TestAReleaseIsFoundByItsTagOrByItsCommit(t *testing.T) {
	t.Parallel()
	dir, commits := repository(t)
	r := Release{"v0.1.0", commits[0]}
	if err := r.check(t.Context(), dir); err != nil {
		t.Errorf("without the tag: %v", err)
	}
	if _, err := git(t.Context(), dir, "tag", "v0.1.0", commits[0]); err != nil {
		t.Fatal(err)
	}
	if err := r.check(t.Context(), dir); err != nil {
		t.Errorf("with the tag: %v", err)
	}
	r.Commit = commits[1]
	if err := r.check(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "correct the one that is wrong") {
		t.Errorf("with a tag that is elsewhere: %v", err)
	}
}

func TestAShallowCloneIsToldWhatToFetch(t *testing.T) {
	t.Parallel()
	dir, commits := repository(t)
	shallow := filepath.Join(t.TempDir(), "shallow")
	if out, err := exec.CommandContext(t.Context(), "git", "clone", "--quiet", "--depth=1", "file://"+dir, shallow).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	err := Release{"v0.1.0", commits[0]}.check(t.Context(), shallow)
	if !errors.Is(err, errNotHere) || !strings.Contains(err.Error(), "git fetch --tags --unshallow") {
		t.Errorf("got %v", err)
	}
}

// A chart that went on under the version of a release would name that release's images
// for newer manifests.
func TestTheChartIsOfAReleaseAfterThePreviousOne(t *testing.T) {
	t.Parallel()
	before, err := Pinned()
	if err != nil {
		t.Fatal(err)
	}
	chart := filepath.Join("..", "..", "chart", "fleet")
	var about struct{ Version, AppVersion string }
	var values struct{ Images map[string]string }
	for file, into := range map[string]any{"Chart.yaml": &about, "values.yaml": &values} {
		text, err := os.ReadFile(filepath.Join(chart, file))
		if err == nil {
			err = yaml.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	version := "v" + about.Version
	if version == before.Version {
		t.Errorf("the chart is of %s, which is released: docs/releasing.md says what comes after a release", version)
	}
	if err := install.Upgradable(before.Version, version); err != nil {
		t.Errorf("from the previous release to the chart's: %v", err)
	}
	if about.AppVersion != about.Version {
		t.Errorf("appVersion is %s, and version %s", about.AppVersion, about.Version)
	}
	for _, name := range []string{"operator", "callout", "fleetctl"} {
		if image := values.Images[name]; !strings.HasSuffix(image, ":"+version) {
			t.Errorf("images.%s is %s, which is not of %s", name, image, version)
		}
	}
}
