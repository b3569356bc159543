package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// Why the process ends; each is a cause of its context.
var (
	errSignal     = errors.New("signal received")
	errStdinEnded = errors.New("stdin ended: the parent is gone")
)

const (
	// shutdownLimit bounds a graceful shutdown. etcd survives a kill at any
	// instruction, so leaving early costs nothing but tidiness. A machine that does
	// much else has the time to be tidy; a person gives a second signal.
	shutdownLimit = 30 * time.Second
	// orphanLimit is the same when the parent is gone: nobody waits for answers
	// any more, but its successor may already wait for the data directory.
	orphanLimit = 2 * time.Second
)

// execute is the process: it returns the exit code.
func execute(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	if errors.Is(err, pflag.ErrHelp) {
		return 0
	}
	quiet := &quietLog{out: stderr}
	if err == nil {
		err = configureLog(opts.Verbosity, quiet)
	}
	if err != nil {
		fmt.Fprintf(stderr, "kubeapi: %v\n", err)
		if errors.Is(err, errUsage) {
			return 2
		}
		return 1
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go cancelOnSignal(cancel)
	if opts.ExitWithStdin {
		go cancelOnEOF(stdin, cancel)
	}
	stop := context.AfterFunc(ctx, func() { exitAfterLimit(context.Cause(ctx), opts, quiet) })
	defer stop()

	switch err := run(ctx, opts, stdout, quiet); {
	case err == nil:
		return 0
	case askedToEnd(err), askedToEnd(context.Cause(ctx)) && errors.Is(err, context.Canceled):
		// It was interrupted before it was ready, which is no failure of its own.
		fmt.Fprintf(stderr, "kubeapi: %v\n", err)
		return 0
	case errors.Is(err, errDataDirInUse):
		fmt.Fprintf(stderr, "kubeapi: %v\n", err)
		return 1
	default:
		fmt.Fprintf(stderr, "kubeapi: %v\n", errors.Join(err, quiet.showKept()))
		return 1
	}
}

// askedToEnd tells an end that somebody wanted from a failure.
func askedToEnd(err error) bool {
	return errors.Is(err, errSignal) || errors.Is(err, errStdinEnded)
}

// cancelOnSignal cancels on the first SIGTERM, SIGINT or SIGHUP; a second one
// leaves at once, for a person who does not want to wait.
func cancelOnSignal(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	cancel(fmt.Errorf("%w: %v", errSignal, <-signals))
	<-signals
	os.Exit(1)
}

// cancelOnEOF cancels when stdin ends. The kernel closes the parent's end of the
// pipe however the parent dies, so this works for kill -9 too, and on every Unix.
func cancelOnEOF(stdin io.Reader, cancel context.CancelCauseFunc) {
	// Whether reading ended well or in an error, nobody is there any more.
	_, err := io.Copy(io.Discard, stdin)
	cancel(errors.Join(errStdinEnded, err))
}

// exitAfterLimit ends a shutdown that hangs. The kernel then releases the lock of
// the data directory, and the next start cleans up.
func exitAfterLimit(cause error, opts Options, quiet *quietLog) {
	limit := shutdownLimit
	if errors.Is(cause, errStdinEnded) {
		limit = orphanLimit
	}
	<-time.After(limit)
	err := errors.Join(quiet.showKept(), removeIfPresent(opts.Kubeconfig))
	fmt.Fprintf(quiet.out, "kubeapi: shutting down took more than %s; leaving now, the data is safe\n", limit)
	if err != nil {
		fmt.Fprintf(quiet.out, "kubeapi: %v\n", err)
	}
	os.Exit(1)
}
