// Fleet-agent keeps one device as the fleet's log wants it.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
