package needs_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog/needs"
)

// recorder notes how a test ended instead of ending it.
type recorder struct {
	testing.TB
	ended string
}

func (*recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) {
	r.ended = "skipped: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.ended = "failed: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func ending(f func(testing.TB)) string {
	r := &recorder{ended: "went on"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.ended
}

func TestFleetRequireAllMakesEverySkipAFailure(t *testing.T) {
	missing := func(t testing.TB) { needs.Missing(t, "there is no %s", "podman") }
	for value, want := range map[string]string{
		"":      "skipped: there is no podman",
		"0":     "skipped: there is no podman",
		"false": "skipped: there is no podman",
		"1":     "failed: FLEET_REQUIRE_ALL is set, and: there is no podman",
		"true":  "failed: FLEET_REQUIRE_ALL is set, and: there is no podman",
		"yes":   `failed: FLEET_REQUIRE_ALL is "yes", want 1 or 0`,
	} {
		t.Run("the value "+value, func(t *testing.T) {
			t.Setenv(needs.Variable, value)
			if diff := cmp.Diff(want, ending(missing)); diff != "" {
				t.Errorf("a test that lacks something (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAProgramThatIsInstalledSkipsNothing(t *testing.T) {
	t.Setenv(needs.Variable, "")
	if got := ending(func(t testing.TB) { needs.Program(t, "go", "") }); got != "went on" {
		t.Errorf("with go on the path the test %s", got)
	}
	got := ending(func(t testing.TB) { needs.Program(t, "no-such-program", "apt-get install it") })
	if !strings.HasPrefix(got, "skipped: ") || !strings.Contains(got, "no-such-program") || !strings.Contains(got, "apt-get install it") {
		t.Errorf("without the program the test %s", got)
	}
}
