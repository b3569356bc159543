// Package unit is the agent's systemd unit, in the two ways in which it gets to a
// device: written by an enrolment, or installed by a deb or an rpm.
package unit

import (
	"bytes"
	_ "embed"
	"text/template"
)

// Name is how systemd calls the unit.
const Name = "fleet-agent.service"

// Where the agent and its unit are on a device. The first two are an enrolment's, the
// others a package's.
const (
	AgentPath = "/usr/local/bin/fleet-agent"
	Path      = "/etc/systemd/system/" + Name

	PackagedAgentPath = "/usr/bin/fleet-agent"
	PackagedPath      = "/usr/lib/systemd/system/" + Name
)

// Origin is how the first line of a unit begins that an enrolment wrote. The scripts of
// the packages know such a unit by it: it would hide the package's own.
const Origin = "# Written by fleetctl enroll."

// IsEnrolled says whether a unit is one that an enrolment wrote, of this version or of
// another. Any other unit is an administrator's.
func IsEnrolled(text []byte) bool { return bytes.HasPrefix(text, []byte(Origin)) }

//go:embed fleet-agent.service
var text string

type values struct {
	Origin   string
	Agent    string
	Packaged bool
}

// Enrolled is the unit that an enrolment writes.
func Enrolled() []byte { return render(values{Origin: Origin, Agent: AgentPath}) }

// Packaged is the unit of a package. It starts nothing on a device that has no
// configuration yet, so that the package can be installed before the enrolment.
func Packaged() []byte {
	return render(values{Origin: "# Part of the package fleet-agent.", Agent: PackagedAgentPath, Packaged: true})
}

// render fills in the template, which is this package's own.
func render(v values) []byte {
	var b bytes.Buffer
	if err := template.Must(template.New(Name).Parse(text)).Execute(&b, v); err != nil {
		panic(err)
	}
	return b.Bytes()
}
