// Package manual is what a package of the agent tells a person on the device: the pages
// of its manual, and an example of its configuration.
package manual

import (
	_ "embed"
	"strings"
	"time"
)

//go:embed fleet-agent.8
var program string

//go:embed fleet-agent.toml.5
var configuration string

//go:embed config.toml
var example string

// Program is fleet-agent(8), as troff's man macros.
func Program(version string, date time.Time) []byte { return fill(program, version, date) }

// Configuration is fleet-agent.toml(5), as troff's man macros.
func Configuration(version string, date time.Time) []byte {
	return fill(configuration, version, date)
}

// Example is a config.toml with every key that there is.
func Example() []byte { return []byte(example) }

func fill(page, version string, date time.Time) []byte {
	page = strings.ReplaceAll(page, "@VERSION@", strings.ReplaceAll(version, "-", `\-`))
	return []byte(strings.ReplaceAll(page, "@DATE@", date.UTC().Format(time.DateOnly)))
}
