// Command fleet-operator runs one replica of the fleet's operator.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"fleet.nationtech.io/eventlog/processmetrics"
	"fleet.nationtech.io/operator"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it ran, and what it needs failed
	exitUsage  = 2 // wrong flags or settings
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stderr))
}

// run is
//
//	flags, $FLEET_… ──▶ settings ──▶ operator.Options ──▶ operator.Run until SIGINT or SIGTERM
func run(args []string, getenv func(string) string, stderr io.Writer) int {
	refuse := func(err error) int {
		_, _ = fmt.Fprintln(stderr, "fleet-operator:", err) // nobody to tell when it fails
		return exitUsage
	}
	s, err := parse(args, getenv, stderr)
	switch {
	case errors.Is(err, errHelp):
		return exitOK
	case err != nil:
		return refuse(err)
	}
	logger := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: s.logLevel}))
	klog.SetLogger(logr.FromSlogHandler(logger.Handler()))
	registry := processmetrics.NewRegistry("fleet-operator")

	options, err := s.options(logger, registry)
	if err != nil {
		return refuse(err)
	}
	op, err := operator.New(options)
	if err != nil {
		return refuse(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := op.Run(ctx); err != nil {
		logger.Error("the operator ended", "error", err)
		return exitFailed
	}
	return exitOK
}
