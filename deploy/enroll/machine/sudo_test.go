package machine

import (
	"bytes"
	"context"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A sudo that is told by the environment how it behaves. It notes its arguments.
const fakeSudo = `#!/bin/sh
echo "$*" >>"$SUDO_LOG"
interactive=yes reads=
while :; do
  case $1 in
  -n) interactive= ; shift ;;
  -k) shift ;;
  -S) reads=yes; shift ;;
  -p) shift 2 ;;
  *) break ;;
  esac
done
case $SUDO_HOW in
free) ;;
free-later) [ -n "$interactive" ] || exit 1 ;; # it wants a password, and then reads none
tty) [ -n "$interactive" ] && echo "sudo: sorry, you must have a tty to run sudo" >&2; exit 1 ;;
no) [ -n "$interactive" ] && echo "pi is not in the sudoers file." >&2; exit 1 ;;
*)
  [ -n "$interactive" ] || { echo "sudo: a password is required" >&2; exit 1; }
  IFS= read -r given
  [ "$given" = "$SUDO_HOW" ] || { echo "sudo: no password was provided" >&2; exit 1; }
  ;;
esac
exec "$@"
`

// sudoed is the machine as user pi sees it, who has a sudo.
func sudoed(t *testing.T, how string, ask func(Question) (string, error)) (*root, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"sudo": fakeSudo, "id": "#!/bin/sh\necho 1000\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "log")
	run := func(ctx context.Context, line string, stdin []byte) (Result, error) {
		cmd := osexec.CommandContext(ctx, "sh", "-c", line)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SUDO_HOW="+how, "SUDO_LOG="+log)
		var out, errs bounded
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
		err := cmd.Run()
		var ended *osexec.ExitError
		if errors.As(err, &ended) {
			err = nil
		}
		return Result{Stdout: out.kept, Stderr: errs.kept, Code: cmd.ProcessState.ExitCode()}, err
	}
	return &root{exec: run, user: "pi@host", secrets: asker(ask)}, log
}

type asker func(Question) (string, error)

func (a asker) Ask(_ context.Context, q Question) (string, error) { return a(q) }

func TestScriptsBecomeRootBySudo(t *testing.T) {
	t.Parallel()
	input := []byte("first\nsecond\n\x00")
	for name, how := range map[string]string{
		"without a password": "free",
		"with a password":    "hunter2",
		"with one that sudo does not read, and no file has it": "free-later",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, log := sudoed(t, how, func(Question) (string, error) { return "hunter2", nil })
			for range 2 {
				got, err := r.run(t.Context(), Command{Script: `printf %s "$1"; cat`, Args: []string{"it's "}, Stdin: input})
				if err != nil || string(got.Stdout) != "it's "+string(input) {
					t.Errorf("%q %q, %v", got.Stdout, got.Stderr, err)
				}
			}
			if text, err := os.ReadFile(log); err != nil || strings.Contains(string(text), "hunter2") {
				t.Errorf("the password is among the arguments, or there are none: %v", err)
			}
		})
	}
}

func TestWhoCannotBecomeRootIsToldWhy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		how, says string
		ask       func(Question) (string, error)
	}{
		"a wrong password, three times": {"right", "did not take the password", func(Question) (string, error) { return "wrong", nil }},
		"nobody to ask":                 {"right", "no terminal", func(Question) (string, error) { return "", ErrNobodyToAsk }},
		"a sudo that demands a tty":     {"tty", "requiretty", func(Question) (string, error) { return "x", nil }},
		"a user who may not use sudo":   {"no", "may not use sudo", func(Question) (string, error) { return "x", nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			r, _ := sudoed(t, test.how, func(q Question) (string, error) {
				if asked++; q.Again != (asked > 1) || q.Kind != SudoPassword {
					t.Errorf("question %d is %+v", asked, q)
				}
				return test.ask(q)
			})
			_, err := r.run(t.Context(), Command{Script: ":"})
			if !errors.Is(err, ErrNoRoot) || !strings.Contains(err.Error(), test.says) || asked > sudoTries {
				t.Errorf("%v after %d questions", err, asked)
			}
		})
	}
}
