package cli

import (
	"errors"
	"fmt"
)

// Exit codes.
const (
	ExitOK       = 0
	ExitFailed   = 1 // it was tried and did not work; the message says what to try
	ExitUsage    = 2 // the command line cannot be understood
	ExitNoAnswer = 3 // ping: nobody answered
	ExitForeign  = 4 // verify: all agrees, and foreign messages were found; import: entries were refused, the others are imported; archive: the backup is verified, and a person must look at an older one

	ExitNoOperator = 5 // rollout: no operator answered a request in time; it stays in the log
	ExitPaused     = 6 // rollout status -w: the rollout is paused or held
	ExitRolledBack = 7 // rollout status -w: it was rolled back
	ExitAborted    = 8 // rollout status -w: a person aborted it
	ExitStillGoing = 9 // rollout status -w: it goes on at --timeout

	ExitInterrupted = 130 // Ctrl-C or SIGTERM came before the end; to end what follows the log by it is no failure
	ExitCut         = 141 // the reader of the output stopped (| head), as SIGPIPE ends other tools
)

// Failure is an error that says what to try, with the exit code that it gives.
type Failure struct {
	err  error
	try  string
	code int
}

func (f *Failure) Error() string { return f.err.Error() }

func (f *Failure) Unwrap() error { return f.err }

// Failed is an error of a command that was tried and did not work.
func Failed(err error, try string) error { return &Failure{err, try, ExitFailed} }

// Misused is an error of the command line.
func Misused(err error, try string) error { return &Failure{err, try, ExitUsage} }

// Interrupted is the error of a command that a person ended before it was done.
func Interrupted(try string) error {
	return &Failure{errors.New("interrupted"), try, ExitInterrupted}
}

// FailedWith is an error that gives an exit code of its own.
func FailedWith(code int, err error, try string) error { return &Failure{err, try, code} }

// Report tells the person what failed and what to try, and gives the exit code.
// command is the command line that failed.
func (s Streams) Report(err error, command string) int {
	var code ExitCode
	var f *Failure
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &code):
		return int(code)
	}
	s.Warn("Error: %v\n", err)
	help := command + " --help"
	if !errors.As(err, &f) {
		// Every other error is cobra's: the command line.
		s.Warn("Try: %s\n", help)
		return ExitUsage
	}
	if f.try == "" && f.code != ExitInterrupted {
		f.try = help
	}
	if f.try != "" {
		s.Warn("Try: %s\n", f.try)
	}
	return f.code
}

// ExitCode is an error without a message: the answer has said all.
type ExitCode int

func (c ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Remedy is what to try.
func (f *Failure) Remedy() string { return f.try }

// Misuse says whether an error is one of the command line.
func Misuse(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.code == ExitUsage
}
