// Command fleet-callout runs one replica of NATS' auth callout: it lets devices,
// persons and services in by the tokens of an identity provider.
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

	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/eventlog/processmetrics"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it ran, and what it needs failed
	exitUsage  = 2 // it was told wrongly
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stderr))
}

// run is
//
//	flags, $FLEET_…, --config ──▶ settings ──▶ service.Options ──▶ service.Run until SIGINT or SIGTERM
func run(args []string, getenv func(string) string, stderr io.Writer) int {
	refuse := func(err error) int {
		_, _ = fmt.Fprintln(stderr, "fleet-callout:", err) // nobody to tell when it fails
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
	registry := processmetrics.NewRegistry("fleet-callout")
	options, err := s.options(logger, registry)
	if err != nil {
		return refuse(err)
	}
	replica, err := service.New(options)
	if err != nil {
		return refuse(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := replica.Run(ctx); err != nil {
		logger.Error("the auth callout ended", "error", err)
		return exitFailed
	}
	return exitOK
}
