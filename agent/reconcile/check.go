package reconcile

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog/score"
)

// A check that has not answered after its interval is a no; but even a quick
// rhythm leaves a slow device the time to answer.
const (
	checkLeast = time.Second
	checkMost  = 10 * time.Second
)

type checkResult struct {
	check   plan.Check
	made    bool // whether it could be made at all
	passed  bool
	message string
}

// check begins a health check, unless one is under way for the container.
func (k *Reconciler) check(ctx context.Context, c plan.Check) {
	if k.checking[c.Container] {
		return
	}
	k.checking[c.Container] = true
	k.work.Go(func() {
		limited, cancel := context.WithTimeout(ctx, min(max(c.Check.Interval, checkLeast), checkMost))
		defer cancel()
		r := k.ask(limited, c)
		r.made = r.made && ctx.Err() == nil
		k.checks <- r
	})
}

// ask makes one check.
func (k *Reconciler) ask(ctx context.Context, c plan.Check) checkResult {
	r := checkResult{check: c, made: true}
	if c.Check.HTTP != nil {
		status, err := k.o.Engine.Get(ctx, c.Container, c.Check.HTTP.Port, c.Check.HTTP.Path)
		if err != nil {
			r.made = counts(err)
			r.message = fmt.Sprintf("GET :%d%s: %v", c.Check.HTTP.Port, c.Check.HTTP.Path, err)
			return r
		}
		r.passed = status >= 200 && status < 400
		r.message = fmt.Sprintf("GET :%d%s answered %d", c.Check.HTTP.Port, c.Check.HTTP.Path, status)
		return r
	}
	result, err := k.o.Engine.Exec(ctx, c.Container, c.Check.Exec)
	if err != nil {
		r.made = counts(err)
		r.message = fmt.Sprintf("%s: %v", c.Check.Exec[0], err)
		return r
	}
	r.passed = result.ExitCode == 0
	r.message = execMessage(c.Check, result)
	return r
}

// counts tells a check that was answered with no, or not in time, from one that
// could not be made because the engine or the container is not there.
func counts(err error) bool {
	e := engine.AsError(err, engine.ReasonExecFailed)
	return e.Class != engine.ClassAway && e.Reason != engine.ReasonContainerGone
}

// execMessage says how a check's command ended. That the command is missing is
// said only where the engine says it: a shell ends with 127, too, where what it
// calls is missing, and tells in its output what that was.
func execMessage(c score.HealthCheck, r engine.ExecResult) string {
	command := c.Exec[0]
	if r.Unstarted != "" {
		return fmt.Sprintf("%s cannot be run in the container (exit code %d): %s", command, r.ExitCode, oneLine(r.Unstarted))
	}
	how := fmt.Sprintf("%s ended with %d", command, r.ExitCode)
	if name := unix.SignalName(unix.Signal(r.ExitCode - exitSignal)); r.ExitCode > exitSignal && name != "" {
		how += ", as a command does that " + name + " ends"
	}
	return strings.TrimSuffix(how+": "+oneLine(r.Output), ": ")
}

// exitSignal is added to the number of the signal that ended a command.
const exitSignal = 128

// oneLine is a command's output in one line, and short: a report is no log.
func oneLine(output string) string {
	const most = 200 // bytes
	output = strings.Join(strings.Fields(output), " ")
	if len(output) > most {
		output = strings.ToValidUTF8(output[:most], "") + "…"
	}
	return output
}

// checked tells the memory what a check said. One that could not be made says
// that the container is not as it was last seen.
func (k *Reconciler) checked(r checkResult) {
	delete(k.checking, r.check.Container)
	if !r.made {
		k.memory = k.memory.NotChecked(r.check, k.o.Clock())
		k.stale = true
		return
	}
	k.metrics.check(r.passed)
	k.memory = k.memory.Checked(r.check, r.passed, r.message, k.o.Clock())
}
