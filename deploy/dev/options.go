package dev

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/eventlog"
)

// Engines that Options.Engine can name.
const (
	EngineAuto   = "auto"   // Podman where a socket answers or can be made to, else memory
	EnginePodman = "podman" // Podman, or an error that says what is missing
	EngineMemory = "memory" // containers that exist in memory alone
)

// Ways in which devices prove who they are, as Options.Auth names them.
const (
	// AuthPassword gives each device a user with a password, over plaintext.
	AuthPassword = "password"
	// AuthOIDC gives each device a key: an identity provider gives tokens for it, the
	// auth callout judges them, and NATS speaks TLS alone.
	AuthOIDC = "oidc"
)

// Options say what fleet to run.
type Options struct {
	DataDir string // keeps everything
	Devices int
	// Prefix is what the devices' ids begin with; empty is edge. Fleets that share
	// a Podman must not share it: one id is one device, wherever it is said.
	Prefix string
	Engine string
	Auth   string // empty is AuthPassword
	// TokenLifetime is how long a device's token holds; 0: as Zitadel's.
	TokenLifetime time.Duration
	// Legacy are older agents, which this does not run: each may connect by the KV
	// API alone.
	Legacy []string
	// Kubeconfig names another cluster to use; empty runs one.
	Kubeconfig string
	// AdoptCluster lets the operator take the log over from another cluster.
	AdoptCluster bool
	// Restore names an archive to put into NATS before the operator starts; empty
	// for none.
	Restore string
	// Ports that are 0 are free ones, remembered in DataDir.
	NATSPort       int
	MetricsPort    int
	DashboardPort  int
	PrometheusPort int
	// usualDashboardPort is taken where it is free and nothing is remembered; 0: any.
	usualDashboardPort int

	// Observability serves the metrics of agents and callouts too, and runs the
	// machine's Prometheus on the fleet where it is installed.
	Observability bool

	// Prometheus are servers that the gates of rollouts may ask, as name=URL. With
	// Observability the fleet's own is one of them, too, by the name main.
	Prometheus []string

	// TraceEndpoint is the URL of a trace collector, for OTLP over HTTP; empty: the
	// variables of OpenTelemetry say it, if any.
	TraceEndpoint string

	PulseInterval time.Duration
	LogMaxBytes   int64

	Out    io.Writer // what a person should read
	Logger *slog.Logger

	roles []service.Role // that the auth callout knows besides the default ones
}

// minTokenLifetime leaves a busy machine time for a rollover.
const minTokenLifetime = 10 * time.Second

func (o *Options) complete() error {
	if o.DataDir == "" {
		return errors.New("no data directory")
	}
	abs, err := filepath.Abs(o.DataDir)
	if err != nil {
		return fmt.Errorf("data directory %s: %w", o.DataDir, err)
	}
	o.DataDir = abs
	switch o.Engine {
	case "":
		o.Engine = EngineAuto
	case EngineAuto, EnginePodman, EngineMemory:
	default:
		return fmt.Errorf("engine %q: must be %s, %s or %s", o.Engine, EngineAuto, EnginePodman, EngineMemory)
	}
	switch o.Auth {
	case "":
		o.Auth = AuthPassword
	case AuthPassword, AuthOIDC:
	default:
		return fmt.Errorf("auth %q: must be %s or %s", o.Auth, AuthPassword, AuthOIDC)
	}
	if o.TokenLifetime != 0 && o.TokenLifetime < minTokenLifetime {
		return fmt.Errorf("token lifetime %s: must be at least %s, or devices do nothing but renew their tokens", o.TokenLifetime, minTokenLifetime)
	}
	if o.Prefix == "" {
		o.Prefix = "edge"
	}
	if o.Devices < 0 || o.Devices > 10_000 {
		return fmt.Errorf("%d devices: between 0 and 10000 run on one machine", o.Devices)
	}
	for _, id := range o.Legacy {
		if err := eventlog.CheckName("older agent", id); err != nil {
			return err
		}
	}
	if o.PulseInterval == 0 {
		o.PulseInterval = 5 * time.Second // a person is watching
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (o *Options) path(elem ...string) string {
	return filepath.Join(append([]string{o.DataDir}, elem...)...)
}
