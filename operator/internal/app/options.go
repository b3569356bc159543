package app

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/operator/internal/dashboard"
	"fleet.nationtech.io/operator/internal/dashboard/logins"
	"fleet.nationtech.io/operator/internal/dashboard/signin"
	"fleet.nationtech.io/operator/internal/gates"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/internal/traces"
	"fleet.nationtech.io/projections/checkpoint"
	"fleet.nationtech.io/projections/seal"
)

// Defaults of Options.
const (
	DefaultNamespace     = "fleet-system"
	DefaultPulseInterval = 30 * time.Second
	DefaultReplicas      = 1
	// DefaultCheckpointEvents is how many events come between two checkpoints.
	DefaultCheckpointEvents = checkpoint.DefaultEvents
)

// DeviceLabels says which labels of a Device select.
type DeviceLabels = kube.LabelSource

// The two sources of labels.
const (
	// LabelsReported: what the agent reports selects, and what a person sets.
	LabelsReported = kube.LabelsReported
	// LabelsRegistered: only what a person or an enrolment set selects; what
	// the agent reports is shown in the status.
	LabelsRegistered = kube.LabelsRegistered
)

// PrometheusServer is a server that the gates of rollouts may ask.
type PrometheusServer = gates.Server

// SignIn is how persons sign in to the dashboard.
type SignIn = signin.Settings

// Options wire a replica. The zero value of each field is usable but for the
// connection to NATS and RestConfig.
type Options struct {
	// Conn is a connection into the account FLEET that the caller owns. Without
	// one, the operator connects to URL with NATSOptions and closes it.
	Conn        *nats.Conn
	URL         string
	NATSOptions []nats.Option
	// NATSTrust are those of NATSOptions by which the servers are trusted; none of them is a
	// login. Persons at the dashboard are logged in to URL with them.
	NATSTrust []nats.Option
	// NATSWait is how long the operator waits at its start for a server that answers; 0: it
	// tries once.
	NATSWait time.Duration

	RestConfig *rest.Config

	// Identity names this replica in the Lease and in leader.elected; by
	// default the host's name and the process id.
	Identity string
	// Namespace holds the Lease and the operator's own Events; made if absent.
	Namespace string

	Replicas    int   // of each stream: 1 for development, 3 in production
	LogMaxBytes int64 // of the log; 0: no limit

	// CheckpointEvents is how many events come between two saved folds, at least;
	// negative: none is saved, and none is begun from.
	CheckpointEvents int

	// SealEvents and SealInterval say when the log is sealed: after so many
	// events, and after so long where there were fewer.
	SealEvents   int
	SealInterval time.Duration
	// SealKeyFile holds the nkey's seed by which it is; without it, a Secret in
	// Namespace does, made on first use.
	SealKeyFile string

	// Prometheus are the servers that the gates of rollouts may ask.
	Prometheus []PrometheusServer

	PulseInterval time.Duration
	DeviceLabels  DeviceLabels
	// AdoptCluster lets the operator take over a log that belongs to another
	// Kubernetes cluster.
	AdoptCluster bool

	// Lease times, for tests and for those who want a faster handover; zero
	// means 15 s, 10 s and 2 s.
	LeaseDuration time.Duration
	RenewDeadline time.Duration
	RetryPeriod   time.Duration

	// ListenAddr serves /metrics, /healthz, /readyz and /api/v1/events; empty serves
	// nothing. Listener, where given, is used instead and closed at the end.
	ListenAddr string
	Listener   net.Listener
	// NoEventsAPI leaves /api/v1/events out.
	NoEventsAPI bool

	// DashboardAddr serves the dashboard, which shows to each who reaches it what the event
	// log says; empty serves none. It is on the loopback, unless DashboardOpen says that
	// others may read, too. DashboardListener, where given, is used instead and closed at
	// the end.
	DashboardAddr     string
	DashboardListener net.Listener
	DashboardOpen     bool
	// DashboardSignIn has persons sign in to the dashboard, which may then be on any address;
	// the zero value asks nobody. It needs URL, also beside Conn.
	DashboardSignIn SignIn

	// Traces tells what changes consist of to a collector, by OTLP over HTTP, and notes in
	// events to which trace they belong. TraceEndpoint is the collector's URL; without one
	// the variables OTEL_EXPORTER_OTLP_… say it. Of a change the spans of TraceDevices
	// assignments are told, beside those that fail; 0: 100, negative: all.
	Traces        bool
	TraceEndpoint string
	TraceDevices  int

	Logger   *slog.Logger
	Registry *prometheus.Registry
	Now      func() time.Time
}

// complete fills in the defaults and says what is wrong.
func (o *Options) complete() error {
	if o.Conn == nil && o.URL == "" {
		return errors.New("operator: neither a NATS connection nor a URL to connect to")
	}
	if o.RestConfig == nil {
		return errors.New("operator: no configuration of a Kubernetes API")
	}
	switch o.DeviceLabels {
	case "":
		o.DeviceLabels = LabelsReported
	case LabelsReported, LabelsRegistered:
	default:
		return fmt.Errorf("operator: device labels %q: must be %q or %q", o.DeviceLabels, LabelsReported, LabelsRegistered)
	}
	if err := gates.CheckServers(o.Prometheus); err != nil {
		return fmt.Errorf("operator: %w", err)
	}
	for _, address := range []string{o.DashboardAddr, addressOf(o.DashboardListener)} {
		if address == "" {
			continue
		}
		if err := dashboard.CheckListen(address, o.DashboardOpen || o.DashboardSignIn.Asked()); err != nil {
			return fmt.Errorf("operator: dashboard: %w", err)
		}
	}
	if o.DashboardSignIn.Asked() {
		if err := o.checkSignIn(); err != nil {
			return fmt.Errorf("operator: dashboard: %w", err)
		}
	}
	if o.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("operator: identity: %w", err)
		}
		o.Identity = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	if o.SealEvents < 0 || o.SealInterval < 0 || o.PulseInterval < 0 || o.LogMaxBytes < 0 || o.Replicas < 0 {
		return errors.New("operator: intervals, sizes and replicas cannot be negative")
	}
	o.Namespace = orDefault(o.Namespace, DefaultNamespace)
	o.Replicas = orDefault(o.Replicas, DefaultReplicas)
	o.CheckpointEvents = orDefault(o.CheckpointEvents, DefaultCheckpointEvents)
	o.SealEvents = orDefault(o.SealEvents, seal.DefaultEvents)
	o.SealInterval = orDefault(o.SealInterval, seal.DefaultInterval)
	o.PulseInterval = orDefault(o.PulseInterval, DefaultPulseInterval)
	if o.TraceDevices = orDefault(o.TraceDevices, traces.DefaultDevices); o.TraceDevices < 0 {
		o.TraceDevices = 0
	}
	o.LeaseDuration = orDefault(o.LeaseDuration, 15*time.Second)
	o.RenewDeadline = orDefault(o.RenewDeadline, 10*time.Second)
	o.RetryPeriod = orDefault(o.RetryPeriod, 2*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// checkSignIn says what is wrong with the sign-in to the dashboard.
func (o *Options) checkSignIn() error {
	switch {
	case o.DashboardAddr == "" && o.DashboardListener == nil:
		return errors.New("its sign-in is set, and it is not served: give --dashboard too, the address at which it is")
	case o.DashboardOpen:
		return errors.New("give its sign-in or --dashboard-open-to-the-network, not both")
	case o.URL == "":
		return errors.New("its sign-in needs the URL of the NATS servers")
	}
	if err := logins.CheckServers(o.URL, o.NATSTrust); err != nil {
		return fmt.Errorf("its sign-in: %w", err)
	}
	return o.DashboardSignIn.Check()
}

// addressOf is a listener's address; empty where there is none.
func addressOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
