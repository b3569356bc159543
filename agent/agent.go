// Package agent keeps one device as the fleet's log wants it: it brings desired
// state from the bus to Podman, and reports back what came of it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine"
)

// Config is the agent's configuration, as config.toml holds it.
type Config = config.Config

// Engine is what the agent needs of a container engine.
type Engine = engine.Engine

// Options are what the process gives its agent. Several agents may run in one
// process, each with a Config and a data directory of its own.
type Options struct {
	// Engine runs the containers. Required.
	Engine Engine
	// Logger is used as it is; nil discards.
	Logger *slog.Logger
	// Registry receives the agent's metrics; nil registers them nowhere.
	Registry prometheus.Registerer
	// Clock stamps reports and times back-offs; nil is time.Now.
	Clock func() time.Time
}

// Agent is one device's agent. Make one with New, then Run it once.
type Agent struct {
	config  Config
	options Options
	ready   chan struct{}
}

// New validates and wires. It touches neither disk nor network nor engine. The
// Config is one that config.Load or config.Parse made, or config.Default with
// the device's id and server filled in.
func New(c Config, o Options) (*Agent, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if o.Engine == nil {
		return nil, errors.New("an agent needs an engine")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Agent{config: c, options: o, ready: make(chan struct{})}, nil
}

// Ready is closed once the agent has looked at its containers for the first
// time. The bus need not be there for it.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run works until the context ends, and then returns nil; containers go on
// running. Any other return is an error that a restart might cure, such as a
// data directory that cannot be written.
func (a *Agent) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
