// Package agent keeps one device as the fleet's log wants it: it brings desired
// state from the bus to Podman, and reports back what came of it.
package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/reconcile"
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
	// Invocation is systemd's id of this run of the process; empty where systemd did
	// not start it.
	Invocation string
}

// Agent is one device's agent. Make one with New, then Run it once.
type Agent struct {
	config     Config
	options    Options
	figures    *figures
	ready      chan struct{}
	reconciler atomic.Pointer[reconcile.Reconciler]
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
	own := prometheus.NewRegistry()
	if o.Registry == nil {
		o.Registry = own
	} else {
		o.Registry = both{own, o.Registry}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Agent{config: c, options: o, figures: newFigures(own, o.Logger), ready: make(chan struct{})}, nil
}

// Ready is closed once the agent looks after its containers. Neither the bus nor
// the engine need be there for it.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// LastTick is when the agent last looked after its containers, for a watchdog. It
// is now as long as Run has not come that far.
func (a *Agent) LastTick() time.Time {
	if k := a.reconciler.Load(); k != nil {
		return k.LastTick()
	}
	return time.Now()
}
