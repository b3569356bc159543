package access

import (
	"context"
	"os/exec"
	"runtime"

	"fleet.nationtech.io/deploy/fleetctl/cli"
)

// openBrowser tries to show a page. Where that fails, the person has the address.
func openBrowser(ctx context.Context, s cli.Streams, page string) {
	command := []string{s.Getenv("BROWSER")}
	switch {
	case command[0] != "":
	case runtime.GOOS == "darwin":
		command = []string{"open"}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler"}
	case s.Getenv("DISPLAY") == "" && s.Getenv("WAYLAND_DISPLAY") == "":
		return // nobody sees a browser of this machine
	default:
		command = []string{"xdg-open"}
	}
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], page)...)
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // it may stay open for longer than the login
	}
}
