package walkthrough_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/deploy/e2e/walkthrough"
)

// follow has a reader with an empty folder follow a page.
func follow(t *testing.T, text string) (dir string, err error) {
	t.Helper()
	r := walkthrough.Reader{Dir: t.TempDir(), Env: os.Environ(), Scripts: t.TempDir(), Tell: t.Logf}
	return r.Dir, r.Follow(t.Context(), walkthrough.Read(page(text)))
}

func TestAPageThatIsTrueIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	_, err := follow(t, `
'''sh
greet() { echo "hello $1"; }
export A=1
'''
'''sh
greet $A; [ ! -e there ] || echo again
touch there
'''
It says 'hello 1'. Run again, it says 'again'.
'''
$ cat there /dev/null; echo 17s
2m3s
'''
`)
	if err != nil {
		t.Error(err)
	}
}

func TestAPageThatIsNotTrueIsToldByTheLine(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ page, want string }{
		"a step fails":                       {"'''sh\ntrue\n'''\n'''sh\necho so; false\n'''\n", "line 5: exit status 1:\necho so; false\n\nso\n"},
		"within a pipe too":                  {"'''sh\nfalse | true\n'''\n", "line 2: exit status 1"},
		"a name that is not defined":         {"'''sh\necho $NOBODY_DEFINES\n'''\n", "NOBODY_DEFINES: unbound variable"},
		"a step says something else":         {"'''sh\necho a >&2\n'''\nIt says 'b'.\n", "line 2: it does not say \"b\", but:\na\n"},
		"a step says it a second time alone": {"'''sh\n[ -e f ] && echo b; touch f\n'''\nIt says 'b'. Run again, it says 'b'.\n", "line 2: it does not say \"b\""},
		"a second run says something else":   {"'''sh\n[ -e f ] || echo b; touch f\n'''\nIt says 'b'. Run again, it says 'b'.\n", "line 2: run again, it does not say \"b\""},
		"a step shows something else":        {"'''\n$ echo a\nb\n'''\n", "line 2: it does not show \"b\", but:\na\n"},
		"what stays says nothing":            {"'''sh\nsleep 600\n'''\nIn another terminal:\n'''sh\ntrue\n'''\n", "the page does not say how a reader knows"},
		"what stays ends at once":            {"'''sh\necho a; false\n'''\nIt says 'b'. In another terminal:\n'''sh\ntrue\n'''\n", "line 2: it ended before the walk did (exit status 1):\na\n"},
		"what stays ends before the others":  {"'''sh\necho $$ > pid; echo a; until [ -e go ]; do sleep 0.02; done\n'''\nIt says 'a'. In another terminal:\n'''sh\ntouch go; while [ -d /proc/$(cat pid) ]; do sleep 0.02; done\n'''\n", "line 2: it ended before the walk did (exit status 0):\na\n"},
		"a step before what stays is untrue": {"'''sh\necho a\n'''\nIt says 'c'.\n'''sh\necho b; sleep 600\n'''\nIt says 'b'. In another terminal:\n'''sh\ntrue\n'''\n", "line 2: it does not say \"c\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := follow(t, tt.page); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// What stays in its terminal gets Ctrl-C after the last step, and may tidy up.
func TestWhatStaysRunsBesideTheNextStepsAndThenIsEnded(t *testing.T) {
	t.Parallel()
	dir, err := follow(t, `
'''sh
trap 'touch ended; exit 0' INT
touch up
echo Ready
read -r -t 600 line
'''
Once it says 'Ready', go on. In another terminal:
'''sh
ls
'''
It says 'up'.
`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ended")); err != nil {
		t.Error(err)
	}
}

// Who closes a terminal ends what still runs in it.
func TestWhatAStepLeavesInTheBackgroundGoesWithItsTerminal(t *testing.T) {
	t.Parallel()
	dir, err := follow(t, "'''sh\nsleep 600 & echo $! > pid\n'''\n")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	process := filepath.Join("/proc", strings.TrimSpace(string(text)))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(filepath.Join(process, "stat"))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it still runs: %s", stat)
		}
	}
}

func TestAStepHasATerminal(t *testing.T) {
	t.Parallel()
	_, err := follow(t, `
'''sh
[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && printf "\033[31mred\033[0m\rover it\033]0;title\007 all\n"
'''
It says 'red over it all'.
`)
	if err != nil {
		t.Error(err)
	}
}

func TestAWalkEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	because := errors.New("the test wants it")
	r := walkthrough.Reader{Dir: t.TempDir(), Env: os.Environ(), Scripts: t.TempDir(), Tell: t.Logf}
	walked := make(chan error, 1)
	go func() { walked <- r.Follow(ctx, walkthrough.Read(page("'''sh\ntouch begun; sleep 600\n'''\n"))) }()
	for _, err := os.Stat(filepath.Join(r.Dir, "begun")); err != nil; _, err = os.Stat(filepath.Join(r.Dir, "begun")) {
		time.Sleep(10 * time.Millisecond)
	}
	cancel(because)
	if err := <-walked; !errors.Is(err, because) || !strings.Contains(err.Error(), "line 2: ") {
		t.Errorf("got %v", err)
	}
}
