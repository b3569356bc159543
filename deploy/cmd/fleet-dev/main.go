// Command fleet-dev runs a whole fleet on one machine.
package main

import (
	"os"

	"fleet.nationtech.io/deploy/dev"
)

func main() { os.Exit(dev.Main(os.Args[1:], os.Stdout, os.Stderr)) }
