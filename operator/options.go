package operator

import (
	"fleet.nationtech.io/operator/internal/app"
	"fleet.nationtech.io/operator/internal/gates"
)

// Options wire an Operator. The zero value of each field is usable but for the
// connection to NATS (Conn or URL) and RestConfig.
type Options = app.Options

// Defaults of Options.
const (
	DefaultNamespace     = app.DefaultNamespace
	DefaultPulseInterval = app.DefaultPulseInterval
	DefaultReplicas      = app.DefaultReplicas
	// DefaultCheckpointEvents is how many events come between two checkpoints.
	DefaultCheckpointEvents = app.DefaultCheckpointEvents
)

// PrometheusServer is a server that the gates of rollouts may ask.
type PrometheusServer = app.PrometheusServer

// PrometheusServers reads servers as flags say them: name=URL, and name=FILE for the
// files of their tokens.
func PrometheusServers(servers, tokenFiles []string) ([]PrometheusServer, error) {
	return gates.ParseServers(servers, tokenFiles)
}

// DeviceLabels says which labels of a Device select.
type DeviceLabels = app.DeviceLabels

// The two sources of labels.
const (
	// LabelsReported: what the agent reports selects, and what a person sets.
	LabelsReported = app.LabelsReported
	// LabelsRegistered: only what a person or an enrolment set selects; what
	// the agent reports is shown in the status.
	LabelsRegistered = app.LabelsRegistered
)
