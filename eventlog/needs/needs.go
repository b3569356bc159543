// Package needs is the one place where a test is skipped. A test that lacks a
// program, a right or a running service calls Missing: on a developer's machine
// the test is skipped with the reason, and where FLEET_REQUIRE_ALL is set, as in
// CI, it fails. tools/lint.sh refuses every other Skip in the repository.
package needs

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// Variable names the environment variable that makes every skip a failure: "1"
// and "true" turn it on, "0", "false" and the empty string turn it off.
const Variable = "FLEET_REQUIRE_ALL"

// All says whether every skip is a failure. A value of the variable that is not
// a boolean fails the test: a misspelt "yes" must not skip in CI.
func All(t testing.TB) bool {
	t.Helper()
	value := os.Getenv(Variable)
	if value == "" {
		return false
	}
	all, err := strconv.ParseBool(value)
	if err != nil {
		t.Fatalf("%s is %q, want 1 or 0", Variable, value)
	}
	return all
}

// Missing ends the test because something that it needs is not there: it skips
// the test, or fails it where All is true. The text says what is missing and how
// to get it.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if All(t) {
		t.Fatalf("%s is set, and: "+format, append([]any{Variable}, args...)...)
	}
	t.Skipf(format, args...)
}

// Program calls Missing unless there is a program of that name; install is the
// command that installs it.
func Program(t testing.TB, name, install string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		Missing(t, "the program %s is not installed: %s", name, install)
	}
}
