// Package previous has the release before this one, for the tests of upgrades: which it
// is, and its files and programs, made from the repository's history.
package previous

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

//go:embed previous.txt
var pinned string

// Release is a release of the past.
type Release struct {
	Version string // its tag: v0.1.0
	Commit  string // the tag's commit, as 40 hex digits
}

// Pinned is the release before this one. Its commit is written down beside its tag,
// since tags do not travel with every clone.
func Pinned() (Release, error) { return parse(pinned) }

var line = regexp.MustCompile(`^(v\d+\.\d+\.\d+) ([0-9a-f]{40})$`)

// parse reads previous.txt: one line beside comments.
func parse(text string) (Release, error) {
	var found []Release
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		m := line.FindStringSubmatch(l)
		if m == nil {
			return Release{}, fmt.Errorf("previous.txt: %q is not a tag such as v0.1.0 and a commit of 40 hex digits", l)
		}
		found = append(found, Release{Version: m[1], Commit: m[2]})
	}
	if len(found) != 1 {
		return Release{}, fmt.Errorf("previous.txt names %d releases, and must name one", len(found))
	}
	return found[0], nil
}

// errNotHere says that a clone lacks a release.
var errNotHere = errors.New("the release is not in this clone")

// check says whether a repository has the release, and the tag is where it should be.
// A clone without the tag is as good as one that has it.
func (r Release) check(ctx context.Context, repository string) error {
	if _, err := git(ctx, repository, "cat-file", "-e", r.Commit+"^{commit}"); err != nil {
		return fmt.Errorf("%w: commit %s of %s; run: git fetch --tags --unshallow", errNotHere, r.Commit, r.Version)
	}
	tagged, err := git(ctx, repository, "rev-parse", "--verify", "--quiet", "refs/tags/"+r.Version+"^{commit}")
	if err == nil && tagged != r.Commit {
		return fmt.Errorf("tag %s is at %s, and previous.txt says %s: correct the one that is wrong", r.Version, tagged, r.Commit)
	}
	return nil
}

// git runs a command of git in a repository and gives what it says.
func git(ctx context.Context, repository string, args ...string) (string, error) {
	var out, warn bytes.Buffer
	c := exec.CommandContext(ctx, "git", append([]string{"-C", repository}, args...)...)
	c.Stdout, c.Stderr = &out, &warn
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(warn.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}
