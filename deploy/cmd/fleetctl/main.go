// Command fleetctl is the fleet's command line; named kubectl-fleet it is a
// plugin of kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"

	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends the program at once
	code := fleetctl.Run(ctx, streams(), os.Args[1:])
	stop()
	os.Exit(code)
}

func streams() cli.Streams {
	terminal := term.IsTerminal(int(os.Stdout.Fd()))
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		width = 0 // it is no terminal
	}
	return cli.Streams{
		Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Now: time.Now, Name: filepath.Base(os.Args[0]),
		Terminal:    terminal,
		Width:       width,
		ErrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Color:       terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", // no-color.org
	}
}
