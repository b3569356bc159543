package walkthrough

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// With its index, so that git describes the same version in it. Times of change are kept:
// make builds nothing again that was built already.
const copyTree = `set -euo pipefail
git clone --quiet --shared --no-checkout "$1" "$2"
cd "$1"
{ git ls-files -z --cached --others --exclude-standard; [ -z "$3" ] || find bin -maxdepth 1 -not -type d -print0; } |
  tar --create --null --files-from=- --ignore-failed-read 2>/dev/null | tar --extract --directory="$2"
git -C "$2" reset --quiet
`

// Clone gives a reader a clone of the repository, as it is with all that was changed in
// it and not committed; with the programs that were built, where a reader would wait long
// for them.
func Clone(ctx context.Context, repository, dir string, built bool) error {
	with := ""
	if built {
		with = "bin"
	}
	if out, err := exec.CommandContext(ctx, "bash", "-c", copyTree, "clone", repository, dir, with).CombinedOutput(); err != nil {
		return fmt.Errorf("clone %s: %w: %s", repository, err, out)
	}
	return nil
}

// Environment is a reader's: the machine's, without what a test or a make that runs it
// was told, and with a home of the reader's own. What go has stored stays in use.
func Environment(ctx context.Context, home string) ([]string, error) {
	env := []string{"HOME=" + home, "NO_COLOR=1"}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		theirs := false
		for _, prefix := range []string{"HOME", "NO_COLOR", "MAKE", "MFLAGS", "FLEET_", "KUBE", "NATS_", "XDG_", "TESTFLAGS", "RACE", "CGO_ENABLED", "GOFLAGS"} {
			theirs = theirs || strings.HasPrefix(name, prefix)
		}
		if !theirs {
			env = append(env, v)
		}
	}
	for _, name := range []string{"GOENV", "GOCACHE", "GOMODCACHE", "GOPATH"} {
		value, err := exec.CommandContext(ctx, "go", "env", name).Output()
		if err != nil {
			return nil, fmt.Errorf("go env %s: %w", name, err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env, nil
}
