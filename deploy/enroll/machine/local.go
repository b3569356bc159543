package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"os/user"
	"time"
)

// killDelay is how long a script that was told to end may take.
const killDelay = 5 * time.Second

// local is the machine that this program runs on.
type local struct{ root root }

// Local is the machine that this program runs on. secrets is asked where sudo wants a
// password.
func Local(secrets Secrets) Machine {
	name := "this machine"
	if u, err := user.Current(); err == nil {
		name = u.Username + " on this machine"
	}
	return &local{root: root{exec: execHere, user: name, secrets: secrets}}
}

func execHere(ctx context.Context, line string, stdin []byte) (Result, error) {
	cmd := osexec.CommandContext(ctx, "sh", "-c", line)
	var out, errs bounded
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killDelay
	err := cmd.Run()
	r := Result{Stdout: out.kept, Stderr: errs.kept}
	var ended *osexec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, context.Cause(ctx)
	case errors.As(err, &ended):
		if r.Code = ended.ExitCode(); r.Code < 0 {
			return r, fmt.Errorf("a script was ended: %w", err)
		}
	case err != nil:
		return r, fmt.Errorf("run a script: %w", err)
	}
	return r, nil
}

func (l *local) Run(ctx context.Context, c Command) (Result, error) { return l.root.run(ctx, c) }

func (l *local) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return readFile(ctx, l, path)
}

func (l *local) WriteFile(ctx context.Context, f File) error { return writeFile(ctx, l, f) }

func (l *local) String() string { return "this machine" }

func (l *local) Close() error { return nil }
