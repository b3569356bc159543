// Package samples holds Deployments that run on any machine.
package samples

import _ "embed"

// Hello is hello.yaml: one container on every device of the lab.
//
//go:embed hello.yaml
var Hello []byte
