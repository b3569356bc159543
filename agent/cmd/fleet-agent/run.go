package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/eventlog/version"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1 // it could not go on: a restart may help
	exitUsage = 2 // wrong flags or configuration: a restart won't help
)

// run is the process.
//
//	config.toml ──▶ engine (podman | memory) ◀── containers
//	     │                ▲
//	     └──▶ agent.Agent ┘ ◀──▶ the bus
//	             │
//	   systemd ◀─┴─▶ /metrics /healthz
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("fleet-agent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", config.DefaultPath, "the configuration `file`")
	level := slog.LevelInfo
	flags.TextVar(&level, "log-level", slog.LevelInfo, "DEBUG, INFO, WARN or ERROR")
	showVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "fleet-agent: unexpected argument %q: all is said by flags, see fleet-agent --help\n", flags.Arg(0))
		return exitUsage
	}
	if *showVersion {
		fmt.Fprintln(stdout, version.Version)
		return exitOK
	}
	c, err := config.Load(*path)
	if err != nil {
		fmt.Fprintf(stderr, "fleet-agent: %v\n", err)
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, c, log); err != nil {
		log.Error("the agent ends", "error", err)
		return exitError
	}
	return exitOK
}
