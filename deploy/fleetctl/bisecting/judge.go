package bisecting

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"fleet.nationtech.io/deploy/predicate"
	"fleet.nationtech.io/projections/bisect"
	"fleet.nationtech.io/projections/fleet"
)

// judge says whether it is true of a view, and what was looked for and not there.
type judge func(context.Context, *fleet.View) (v bisect.Verdict, missing string, err error)

// judgeError is what a judge fails with.
type judgeError struct{ error }

func (e judgeError) Unwrap() error { return e.error }

// expression judges by a predicate.
type expression struct{ *predicate.Predicate }

func (e expression) ask(ctx context.Context, v *fleet.View) (bisect.Verdict, string, error) {
	a, err := e.Ask(ctx, v)
	switch {
	case err != nil:
		return bisect.Skip, "", judgeError{err}
	case a.Holds:
		return bisect.Yes, "", nil
	}
	return bisect.No, a.Missing, nil
}

// The environment of a command.
const (
	envSequence = "FLEET_BISECT_SEQUENCE"
	envTime     = "FLEET_BISECT_TIME"
)

// shell runs the command.
const shell = "sh"

// Exit codes of a command, as git bisect run reads them.
const (
	codeTrue  = 0
	codeSkip  = 125
	codeAbort = 126 // and more
	// codeInterrupted is what a shell gives where Ctrl-C ended what it ran.
	codeInterrupted = 128 + int(syscall.SIGINT)
)

// errInterrupted says that Ctrl-C ended the command: a terminal sends it to all that run
// there, and the command may end before it is heard here.
var errInterrupted = errors.New("the command was interrupted")

// interrupted says whether Ctrl-C ended a process.
func interrupted(p *os.ProcessState) bool {
	if p == nil {
		return false
	}
	s, ok := p.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGINT
}

// command judges by a command's exit code.
type command struct {
	text   string
	output io.Writer
}

func (c command) ask(ctx context.Context, v *fleet.View) (bisect.Verdict, string, error) {
	input, err := predicate.NewObjects(v).JSON()
	if err != nil {
		return bisect.Skip, "", judgeError{err}
	}
	cmd := exec.CommandContext(ctx, shell, "-c", c.text)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), c.output, c.output
	cmd.Env = append(os.Environ(), envSequence+"="+strconv.FormatUint(v.Sequence, 10), envTime+"="+v.Recorded.UTC().Format(time.RFC3339Nano))
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	code := -1 // it was not run, or a signal ended it
	if cmd.ProcessState != nil {
		code = cmd.ProcessState.ExitCode()
	}
	switch {
	case ctx.Err() != nil:
		return bisect.Skip, "", ctx.Err()
	case code == codeTrue: // it need not read its input, which would be an error
		return bisect.Yes, "", nil
	case code == codeSkip:
		return bisect.Skip, "", nil
	case code == codeInterrupted, interrupted(cmd.ProcessState):
		return bisect.Skip, "", errInterrupted
	case code > 0 && code < codeAbort:
		return bisect.No, "", nil
	case err == nil:
		err = errors.New("its exit code is not known")
	}
	return bisect.Skip, "", judgeError{fmt.Errorf("the command cannot judge sequence %d: %w", v.Sequence, err)}
}
