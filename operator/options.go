package operator

import (
	"fleet.nationtech.io/operator/internal/app"
	"fleet.nationtech.io/operator/internal/gates"
	"fleet.nationtech.io/operator/internal/traces"
)

// Options wire an Operator. The zero value of each field is usable but for the
// connection to NATS (Conn or URL) and RestConfig.
type Options = app.Options

// Defaults of Options.
const (
	DefaultNamespace     = app.DefaultNamespace
	DefaultPulseInterval = app.DefaultPulseInterval
	DefaultReplicas      = app.DefaultReplicas
	// DefaultTraceDevices is how many assignments of a change have their spans exported.
	DefaultTraceDevices = traces.DefaultDevices
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

// SignIn is how persons sign in to the dashboard.
type SignIn = app.SignIn

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

// TracesConfigured says whether traces are to be told: an endpoint is given, by a flag or by
// the variables that OpenTelemetry defines, and nothing turns them off.
func TracesConfigured(endpoint string, getenv func(string) string) bool {
	return traces.Configured(endpoint, getenv)
}
