package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Why the process ends; each is a cause of its context.
var (
	errSignal     = errors.New("signal received")
	errStdinEnded = errors.New("stdin ended: the parent is gone")
)

const (
	// shutdownLimit bounds a graceful shutdown. etcd survives a kill at any
	// instruction, so leaving early costs nothing but tidiness.
	shutdownLimit = 10 * time.Second
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
	if err == nil {
		err = configureLog(opts.Verbosity)
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
	stop := context.AfterFunc(ctx, func() { exitAfterLimit(context.Cause(ctx), opts, stderr) })
	defer stop()

	err = run(ctx, opts, stdout)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "kubeapi: %v\n", err)
	if askedToEnd(err) {
		// It was interrupted before it was ready, which is no failure of its own.
		return 0
	}
	return 1
}

// askedToEnd tells an end that somebody wanted from a failure.
func askedToEnd(err error) bool {
	return errors.Is(err, errSignal) || errors.Is(err, errStdinEnded)
}

// cancelOnSignal cancels on the first SIGTERM, SIGINT or SIGHUP; a second one
// leaves at once, for a person who has lost patience.
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
func exitAfterLimit(cause error, opts Options, stderr io.Writer) {
	limit := shutdownLimit
	if errors.Is(cause, errStdinEnded) {
		limit = orphanLimit
	}
	<-time.After(limit)
	if err := os.Remove(opts.Kubeconfig); err != nil && !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(stderr, "kubeapi: remove kubeconfig: %v\n", err)
	}
	fmt.Fprintf(stderr, "kubeapi: shutting down took more than %s; leaving now, the data is safe\n", limit)
	os.Exit(1)
}

// configureLog makes klog, through which all of Kubernetes logs, as quiet as a
// child process ought to be: at verbosity 0 only warnings and errors are written.
func configureLog(verbosity int) error {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	set := map[string]string{"v": strconv.Itoa(verbosity)}
	if verbosity == 0 {
		// klog filters by severity only when it believes to write files too.
		set["logtostderr"] = "false"
		set["stderrthreshold"] = "WARNING"
		klog.SetOutput(io.Discard)
	}
	for name, value := range set {
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("set log flag %s: %w", name, err)
		}
	}
	// The server's own clients must not log the deprecation warnings that it sends itself.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	return nil
}
