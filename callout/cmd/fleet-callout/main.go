// Command fleet-callout will answer NATS' auth callout. It comes with identity
// support; until then users and passwords stand in the server's configuration.
package main

import (
	"fmt"
	"os"
)

// exitUnsupported is what a shell gives for a command that was used wrongly.
const exitUnsupported = 2

func main() {
	fmt.Fprintln(os.Stderr, "fleet-callout comes with identity support, which this version does not have: "+
		"devices and people log in with a user and a password (see auth.mode = \"shared\" in the agent's config.toml)")
	os.Exit(exitUnsupported)
}
