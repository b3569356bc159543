package walkthrough

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// Reader is a person with a shell.
type Reader struct {
	Dir     string   // where the shell is
	Env     []string // its environment
	Scripts string   // an empty directory for the steps
	Tell    func(format string, args ...any)

	terminals int
}

// Follow runs the steps of a page, one after the other, and says which one failed or
// printed something else than the page says. What stays in a terminal is ended after the
// last step.
func (r *Reader) Follow(ctx context.Context, steps []Step) (err error) {
	for len(steps) > 0 {
		here, stays := 0, false
		for !stays && here < len(steps) {
			stays = steps[here].Stays
			here++
		}
		t, refused := r.open(ctx, steps[:here])
		if refused != nil {
			return refused
		}
		steps = steps[here:]
		if !stays {
			return t.wait(ctx)
		}
		defer func() { err = errors.Join(err, t.close()) }()
		if err := t.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// terminal is a shell that runs some steps of a page, with a screen.
type terminal struct {
	reader *Reader
	steps  []Step
	cmd    *exec.Cmd
	keys   *os.File // the other end of the terminal
	screen screen
	done   chan error
}

// farewell is how long the end of what was written to a terminal is waited for.
const farewell = 10 * time.Second

// patience is how long a program may take to end after Ctrl-C.
const patience = 2 * time.Minute

func (r *Reader) open(ctx context.Context, steps []Step) (*terminal, error) {
	r.terminals++
	t := &terminal{reader: r, steps: steps, done: make(chan error, 1)}
	file := filepath.Join(r.Scripts, fmt.Sprintf("%d.sh", r.terminals))
	if err := os.WriteFile(file, []byte(script(steps)), 0o600); err != nil {
		return nil, err
	}
	t.cmd = exec.CommandContext(ctx, "bash", "-euo", "pipefail", file)
	t.cmd.Dir, t.cmd.Env = r.Dir, append(slices.Clone(r.Env), "TERM=xterm")
	t.cmd.Cancel = func() error { return syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL) }
	var err error
	if t.keys, err = pty.StartWithSize(t.cmd, &pty.Winsize{Rows: 50, Cols: 250}); err != nil {
		return nil, err
	}
	shown := make(chan struct{})
	go func() {
		_, _ = io.Copy(&t.screen, t.keys) // a terminal that nobody writes to any more is an error
		close(shown)
	}()
	go func() {
		err := t.cmd.Wait()
		// What a step left in the background goes with the terminal, also where it ignores
		// that the terminal hangs up. Until then the terminal is written to.
		if kill := t.cmd.Cancel(); kill != nil && !errors.Is(kill, syscall.ESRCH) {
			err = errors.Join(err, kill)
		}
		select {
		case <-shown:
		case <-time.After(farewell): // what left the group of its own accord writes to nobody
		}
		t.done <- errors.Join(err, t.keys.Close())
	}()
	return t, nil
}

// script is one for all steps, so that what a page defines in one block it can use in the
// next. Before each run of a step it marks the screen.
func script(steps []Step) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "printf %s\n%s", quote(mark(i, false)), s.Code)
		if len(s.Again) > 0 {
			fmt.Fprintf(&b, "printf %s\n%s", quote(mark(i, true)), s.Code)
		}
	}
	return b.String()
}

// wait waits for the end of the steps and judges what they printed.
func (t *terminal) wait(ctx context.Context) error {
	err := <-t.done
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	last := t.screen.last()
	if last < 0 {
		return err
	}
	if err != nil {
		first, second := t.screen.of(last)
		s := t.steps[last]
		return errors.Join(t.judge(last), fmt.Errorf("line %d: %w:\n%s\n%s%s", s.Line, err, s.Code, first, second))
	}
	return t.judge(len(t.steps))
}

// judge holds what the first steps printed to what the page says.
func (t *terminal) judge(steps int) error {
	var errs []error
	for i, s := range t.steps[:steps] {
		first, second := t.screen.of(i)
		t.reader.Tell("line %d:\n%s\n%s%s", s.Line, s.Code, first, second)
		errs = append(errs, s.judge(first, second))
	}
	return errors.Join(errs...)
}

// judge holds what a step printed to what the page says.
func (s Step) judge(first, second string) error {
	var errs []error
	for _, m := range Missing(s.Says, first) {
		errs = append(errs, fmt.Errorf("line %d: it does not say %q, but:\n%s", s.Line, m, first))
	}
	for _, l := range Unseen(s.Shown, first) {
		errs = append(errs, fmt.Errorf("line %d: it does not show %q, but:\n%s", s.Line, l, first))
	}
	for _, m := range Missing(s.Again, second) {
		errs = append(errs, fmt.Errorf("line %d: run again, it does not say %q, but:\n%s", s.Line, m, second))
	}
	return errors.Join(errs...)
}

// printed is what the last step has printed so far.
func (t *terminal) printed() string {
	first, _ := t.screen.of(len(t.steps) - 1)
	return first
}

// ready waits until the step that stays has printed what the page says.
func (t *terminal) ready(ctx context.Context) error {
	last := len(t.steps) - 1
	s := t.steps[last]
	if len(s.Says) == 0 {
		return fmt.Errorf("line %d: the page does not say how a reader knows that it goes on in another terminal", s.Line)
	}
	for len(Missing(s.Says, t.printed())) > 0 {
		select {
		case err := <-t.done:
			t.done <- err
			return fmt.Errorf("line %d: it does not say %q", s.Line, s.Says)
		case <-ctx.Done():
			return fmt.Errorf("line %d: %w: it does not say %q", s.Line, context.Cause(ctx), s.Says)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return t.judge(last)
}

// close presses Ctrl-C once the last step has begun, and waits for the end. It is an
// error where the end came before.
func (t *terminal) close() error {
	given := time.After(patience)
	for pressed := false; ; {
		if !pressed && t.screen.last() == len(t.steps)-1 {
			select {
			case err := <-t.done:
				return t.early(err)
			default:
			}
			if _, err := t.keys.Write([]byte{3}); err != nil {
				return t.early(<-t.done)
			}
			pressed = true
		}
		select {
		case err := <-t.done:
			if !pressed {
				return t.early(err)
			}
			return nil // bash ends as what it runs does, or says that Ctrl-C ended it
		case <-given:
			return errors.Join(fmt.Errorf("it does not end within %s after Ctrl-C:\n%s", patience, t.printed()), t.cmd.Cancel())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (t *terminal) early(end error) error {
	if end == nil {
		end = errors.New("exit status 0")
	}
	return fmt.Errorf("line %d: it ended before the walk did (%w):\n%s", t.steps[len(t.steps)-1].Line, end, t.printed())
}
