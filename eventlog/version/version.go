// Package version holds what every binary of the fleet reports of itself: its
// version, and the commit and the toolchain that it was built from.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is set when a binary is linked; what `go run` starts says "dev".
var Version = "dev"

// Info is how a binary was built.
type Info struct {
	Version    string // what the linker was told
	Commit     string // of git, in full; empty where the binary was not built in a git tree
	CommitTime string // RFC 3339, UTC; empty like Commit
	Modified   bool   // the tree had changes that were not committed
	GoVersion  string // go1.26.5
	Platform   string // GOOS/GOARCH, of 32-bit ARM with its version: linux/arm/v7
}

// Read gives how the running binary was built.
func Read() Info {
	build, ok := debug.ReadBuildInfo()
	if !ok { // not built by the go command
		build = &debug.BuildInfo{GoVersion: runtime.Version(), Settings: []debug.BuildSetting{
			{Key: "GOOS", Value: runtime.GOOS}, {Key: "GOARCH", Value: runtime.GOARCH},
		}}
	}
	return Of(Version, build)
}

// Of gives how a binary was built by what the go command wrote into it.
func Of(version string, build *debug.BuildInfo) Info {
	settings := map[string]string{}
	for _, s := range build.Settings {
		settings[s.Key] = s.Value
	}
	i := Info{
		Version:    version,
		Commit:     settings["vcs.revision"],
		CommitTime: settings["vcs.time"],
		Modified:   settings["vcs.modified"] == "true",
		GoVersion:  build.GoVersion,
		Platform:   settings["GOOS"] + "/" + settings["GOARCH"],
	}
	if arm := settings["GOARM"]; arm != "" { // "7", or "7,hardfloat"
		i.Platform += "/v" + arm[:1]
	}
	return i
}

// Text is the version on a line of its own, and Build on the next.
func (i Info) Text() string { return i.Version + "\n" + i.Build() + "\n" }

// Build is one line about the commit and the toolchain.
func (i Info) Build() string {
	commit := "commit unknown"
	if i.Commit != "" {
		commit = "commit " + i.Commit + " of " + i.CommitTime
	}
	if i.Modified {
		commit += ", with changes that were not committed"
	}
	return fmt.Sprintf("%s, %s, %s", commit, i.GoVersion, i.Platform)
}
