// Package pkgfile reads what a deb or an rpm of the agent says of itself: its version,
// its architecture, and the checksum of the program in it.
package pkgfile

import (
	"bytes"
	"fmt"
)

// Name is the name of the agent's package.
const Name = "fleet-agent"

// program is where the package has the agent.
const program = "usr/bin/fleet-agent"

// Format is a format of packages.
type Format string

// The formats.
const (
	Deb Format = "deb"
	RPM Format = "rpm"
)

// Formats lists them.
func Formats() []Format { return []Format{Deb, RPM} }

// arches are how each format calls the architectures that the agent is made for, by the
// names that Go gives them. The agent for arm is built for ARMv7 with floating point.
var arches = map[Format]map[string]string{
	Deb: {"amd64": "amd64", "arm64": "arm64", "arm": "armhf"},
	RPM: {"amd64": "x86_64", "arm64": "aarch64", "arm": "armv7hl"},
}

// Arch is how a format calls an architecture of Go's; false: the agent is not made for it.
func (f Format) Arch(goArch string) (string, bool) {
	name, ok := arches[f][goArch]
	return name, ok
}

// Package is a package of the agent.
type Package struct {
	Format  Format
	Version string // with its release, as the package manager shows it
	Arch    string // as Go names it
	Sum     string // SHA-256 of the program, in hex
	Content []byte
}

// Read reads a package that make packages made.
func Read(content []byte) (Package, error) {
	switch {
	case bytes.HasPrefix(content, []byte(debMagic)):
		return readDeb(content)
	case bytes.HasPrefix(content, []byte(rpmMagic)):
		return readRPM(content)
	}
	return Package{}, fmt.Errorf("this is neither a deb nor an rpm")
}

// named gives the package where it is the agent's.
func named(p Package, name, arch string) (Package, error) {
	if name != Name {
		return Package{}, fmt.Errorf("this is the package %q, not %s", name, Name)
	}
	for goArch, called := range arches[p.Format] {
		if called == arch {
			p.Arch = goArch
		}
	}
	switch {
	case p.Arch == "":
		return Package{}, fmt.Errorf("the package is for architecture %q, which the agent is not made for", arch)
	case p.Version == "":
		return Package{}, fmt.Errorf("the package has no version")
	case p.Sum == "":
		return Package{}, fmt.Errorf("the package has no /%s", program)
	}
	return p, nil
}
