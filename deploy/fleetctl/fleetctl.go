// Package fleetctl is the command line of the fleet: it reads the event log,
// asks devices whether they are there, and asks of the operator what a custom
// resource cannot say. It holds no product logic.
package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog/version"
)

// Exit codes.
const (
	ExitOK       = 0
	ExitFailed   = 1 // it was tried and did not work; the message says what to try
	ExitUsage    = 2 // the command line cannot be understood
	ExitNoAnswer = 3 // ping: nobody answered
	ExitForeign  = 4 // verify: all agrees, and foreign messages were found

	ExitInterrupted = 130 // Ctrl-C or SIGTERM came before the end; to end what follows the log by it is no failure
	ExitCut         = 141 // whoever read the output stopped (| head), as SIGPIPE ends other tools
)

// Streams is the world that a command sees. The zero value of Terminal,
// ErrTerminal and Color is that of a pipe.
type Streams struct {
	Out, Err    io.Writer
	Terminal    bool // Out is a terminal: people read it
	ErrTerminal bool // Err is a terminal: people see how far long work is
	Color       bool // Out takes colours: a terminal, and NO_COLOR is not set
	Getenv      func(string) string
	Now         func() time.Time
	// Name is how the program was called: fleetctl, or kubectl-fleet as a
	// plugin of kubectl.
	Name string

	broken func(error)   // told when Out breaks; nil where Out notices by itself
	heed   func() func() // see follow; nil outside Run
}

// follow has the command end as soon as nobody reads its answer any more, until
// the function that it gives is called. For what goes on until a person ends it.
func (s Streams) follow() (end func()) {
	if s.heed == nil {
		return func() {}
	}
	return s.heed()
}

// tell answers the person. What cannot be written cannot be told either; Run
// ends with it.
func (s Streams) tell(format string, args ...any) {
	if _, err := fmt.Fprintf(s.Out, format, args...); err != nil && s.broken != nil {
		s.broken(err)
	}
}

// warn speaks beside the answer.
func (s Streams) warn(format string, args ...any) { _, _ = fmt.Fprintf(s.Err, format, args...) }

// Run runs one command line and returns its exit code. The context ends what
// follows the log.
func Run(ctx context.Context, s Streams, args []string) int {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out := &outlet{w: s.Out, stop: stop}
	s.heed = out.heed
	if s.Terminal { // a picture on it wants the terminal itself
		s.broken = out.broke
	} else {
		s.Out = out
	}
	if s.Name == completer {
		s.Name, args = "kubectl-fleet", append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	root := newRoot(s)
	root.SetArgs(args)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err = out.outcome(err); err == nil {
		return ExitOK
	}
	var code silence
	if errors.As(err, &code) {
		return int(code)
	}
	s.warn("Error: %v\n", err)
	var f *failure
	if errors.As(err, &f) {
		if f.try == "" && f.code != ExitInterrupted {
			f.try = cmd.CommandPath() + " --help"
		}
		if f.try != "" {
			s.warn("Try: %s\n", f.try)
		}
		return f.code
	}
	// What is not ours is cobra's: the command line.
	s.warn("Try: %s --help\n", cmd.CommandPath())
	return ExitUsage
}

// failure is an error that says what to try.
type failure struct {
	err  error
	try  string
	code int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(err error, try string) error { return &failure{err, try, ExitFailed} }

func misused(err error, try string) error { return &failure{err, try, ExitUsage} }

// display is how a person types the program's name.
func display(name string) string {
	if plugin, ok := strings.CutPrefix(name, "kubectl-"); ok {
		return "kubectl " + plugin
	}
	return name
}

func newRoot(s Streams) *cobra.Command {
	var c connection
	root := &cobra.Command{
		Use:   s.Name,
		Short: "Look into a fleet and speak with it",
		Long: `Look into a fleet and speak with it.

The connection comes from --url, --user and --password, or from FLEET_NATS_URL,
FLEET_NATS_USER and FLEET_NATS_PASSWORD. For a local fleet (fleet-dev up):

  set -a; . .fleet/env; set +a

Exit codes: 0 done, 1 it did not work (or differs, where that is asked), 2 the
command line was wrong, 3 (ping) nobody answered, 4 (verify) all agrees but
foreign messages were found, 130 interrupted before the end, 141 whoever read the
output stopped, as in "| head". Ctrl-C ends what follows the log with 0.`,
		Version:       version.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: display(s.Name)},
	}
	c.bind(root, s)
	root.AddCommand(
		newArchive(s, &c),
		newDevice(s, &c),
		newDiff(s, &c),
		newDocs(s),
		newExplain(s, &c),
		newGet(s, &c),
		newHistory(s, &c),
		newLint(s),
		newLog(s, &c),
		newPing(s, &c),
		newProve(s, &c),
		newRebuild(s, &c),
		newReplay(s, &c),
		newRestore(s, &c),
		newVerify(s, &c),
		newWithdraw(s, &c),
	)
	for _, flag := range []string{"url", "user", "password"} {
		completeFlag(root, flag, cobra.NoFileCompletions)
	}
	for _, cmd := range root.Commands() {
		completeNoFiles(cmd)
	}
	describeCompletion(root)
	return root
}
