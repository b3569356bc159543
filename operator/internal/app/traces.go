package app

import (
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/operator/internal/traces"
)

// traces makes the exporter of traces; nil where no collector is configured.
func (a *App) traces(js jetstream.JetStream, known *state.Fold) *traces.Traces {
	o := a.options
	m := traces.NewMetrics(o.Registry)
	if !o.Traces {
		return nil
	}
	o.Logger.Info("the operator exports traces of changes by OTLP", "devices_per_change", o.TraceDevices)
	return traces.New(traces.Options{
		JS: js, State: known, Endpoint: o.TraceEndpoint, Devices: o.TraceDevices, Identity: o.Identity, Metrics: m, Now: o.Now, Logger: o.Logger,
	})
}
