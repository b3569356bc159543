package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/eventlog/version"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1 // it could not go on: a restart may help
	// exitUsage is for a wrong command line. It is also Go's for a panic, and what
	// systemd's watchdog makes of a Go program, so that nothing that a restart cannot
	// mend may end with it.
	exitUsage  = 2
	exitNone   = 3  // (key show) there is no key
	exitConfig = 78 // EX_CONFIG of sysexits.h: the configuration is wrong, a restart won't help
)

// exit is an error with its exit code.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string { return e.err.Error() }
func (e exit) Unwrap() error { return e.err }

// run is the process.
//
//	config.toml ──▶ engine (podman | memory) ◀── containers
//	     │                ▲
//	     └──▶ agent.Agent ┘ ◀──▶ the bus
//	             │
//	   systemd ◀─┴─▶ /metrics /healthz
//
// Its commands look at what the daemon is configured with, and keep its key.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot(stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if err == nil {
		return exitOK
	}
	var e exit
	if !errors.As(err, &e) { // what cobra itself finds wrong
		e = exit{exitUsage, fmt.Errorf("%w\nSee: %s --help", err, cmd.CommandPath())}
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.Name(), e.err)
	return e.code
}

func newRoot(stderr io.Writer) *cobra.Command {
	path := config.DefaultPath
	level := slog.LevelInfo
	root := &cobra.Command{
		Use:   "fleet-agent",
		Short: "Keep this device as the fleet wants it",
		Long: `Keep this device as the fleet wants it, until SIGINT or SIGTERM.

Exit codes: 0 done, 1 it could not go on (a restart may help), 2 the command line was
wrong, 3 (key show) there is no key, 78 the configuration is wrong (a restart won't
help: RestartPreventExitStatus=78).`,
		Version:       version.Version,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDaemon(cmd.Context(), path, level, stderr)
		},
	}
	root.SetVersionTemplate(version.Read().Text())
	flags := root.Flags()
	flags.StringVar(&path, "config", config.DefaultPath, "the configuration `file`")
	flags.TextVar(&level, "log-level", slog.LevelInfo, "DEBUG, INFO, WARN or ERROR")
	must(root.MarkFlagFilename("config", "toml"))
	must(root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]cobra.Completion{"DEBUG", "INFO", "WARN", "ERROR"}, cobra.ShellCompDirectiveNoFileComp)))
	root.AddCommand(newConfig(), newKey())
	return root
}

// must is for what this program's own text would get wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// group is a command that does nothing itself.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, sub := range cmd.Commands() {
			names = append(names, sub.Name())
		}
		return fmt.Errorf("%q is no command of %s; there are: %s", args[0], cmd.CommandPath(), strings.Join(names, ", "))
	}}
	cmd.AddCommand(commands...)
	return cmd
}

// runDaemon runs the agent until the context or a signal ends it.
func runDaemon(ctx context.Context, path string, level slog.Level, stderr io.Writer) error {
	c, err := config.Load(path)
	var file *fs.PathError
	switch {
	case errors.As(err, &file) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
		return exit{exitError, err} // the disk may come back
	case err != nil:
		return exit{exitConfig, err}
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, c, log); err != nil {
		log.Error("the agent ends", "error", err)
		return exit{exitError, err}
	}
	return nil
}
