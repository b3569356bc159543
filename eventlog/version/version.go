// Package version holds the version that every binary of the fleet reports.
package version

// Version is set when a binary is linked; what `go run` starts says "dev".
var Version = "dev"
