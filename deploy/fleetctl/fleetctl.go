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
)

// Streams is the world that a command sees. The zero value of Terminal and
// Color is that of a pipe.
type Streams struct {
	Out, Err io.Writer
	Terminal bool // Out is a terminal: people read it
	Color    bool // Out takes colours: a terminal, and NO_COLOR is not set
	Getenv   func(string) string
	Now      func() time.Time
	// Name is how the program was called: fleetctl, or kubectl-fleet as a
	// plugin of kubectl.
	Name string
}

// tell answers the person. What cannot be written cannot be told either.
func (s Streams) tell(format string, args ...any) { _, _ = fmt.Fprintf(s.Out, format, args...) }

// warn speaks beside the answer.
func (s Streams) warn(format string, args ...any) { _, _ = fmt.Fprintf(s.Err, format, args...) }

// Run runs one command line and returns its exit code. The context ends what
// follows the log.
func Run(ctx context.Context, s Streams, args []string) int {
	root := newRoot(s)
	root.SetArgs(args)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	s.warn("Error: %v\n", err)
	var f *failure
	if errors.As(err, &f) {
		if f.try != "" {
			s.warn("Try: %s\n", f.try)
		}
		return f.code
	}
	// What is not ours is cobra's: the command line.
	s.warn("Try: %s --help\n", display(s.Name))
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

Exit codes: 0 done, 1 it did not work, 2 the command line was wrong, 3 (ping)
nobody answered.`,
		Version:       version.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: display(s.Name)},
	}
	c.bind(root, s)
	root.AddCommand(newLog(s, &c), newPing(s, &c), newWithdraw(s, &c))
	return root
}
