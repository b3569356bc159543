package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/projections/seal"
)

// settings are what a person can say, by a flag or, weaker, by an environment
// variable: --nats-url is $FLEET_NATS_URL.
type settings struct {
	natsURL, natsUser, natsPassword, natsCreds, natsCA string
	natsWait                                           time.Duration
	kubeconfig, namespace, identity                    string
	replicas                                           int
	logMaxBytes                                        int64
	checkpointEvents                                   uint
	sealKeyFile                                        string
	sealEvents                                         int
	sealInterval                                       time.Duration
	pulseInterval                                      time.Duration
	prometheus, prometheusTokens                       list
	deviceLabels                                       string
	adoptCluster                                       bool
	listen                                             string
	eventsAPI                                          bool
	dashboard                                          string
	dashboardOpen                                      bool
	signIn                                             operator.SignIn
	traceEndpoint                                      string
	traceDevices                                       int
	traces                                             bool
	logLevel                                           slog.Level
}

// list is a flag that may be given again; one value may have several, comma separated.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*l = append(*l, part)
		}
	}
	return nil
}

var errHelp = errors.New("help was asked for")

const envPrefix = "FLEET_"

func parse(args []string, getenv func(string) string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("fleet-operator", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&s.natsURL, "nats-url", "nats://127.0.0.1:4222", "NATS servers, comma separated, and the account FLEET by the user")
	f.StringVar(&s.natsUser, "nats-user", "", "user in the account FLEET")
	f.StringVar(&s.natsPassword, "nats-password", "", "its password; better by $FLEET_NATS_PASSWORD")
	f.StringVar(&s.natsCreds, "nats-creds", "", "credentials file, instead of user and password")
	f.StringVar(&s.natsCA, "nats-ca-file", "", "certificate authority of the NATS servers")
	f.DurationVar(&s.natsWait, "nats-wait", 30*time.Second, "how long to wait at the start for a NATS server that answers")
	f.StringVar(&s.kubeconfig, "kubeconfig", getenv("KUBECONFIG"), "kubeconfig file; without one the pod's own service account is used")
	f.StringVar(&s.namespace, "namespace", operator.DefaultNamespace, "namespace of the Lease and of the operator's own Events")
	f.StringVar(&s.identity, "identity", "", "name of this replica; by default the host's name and the process id")
	f.IntVar(&s.replicas, "replicas", operator.DefaultReplicas, "replicas of each NATS stream: 1 for development, 3 in production")
	f.Int64Var(&s.logMaxBytes, "log-max-bytes", 0, "bytes that the event log may take; 0 for no limit")
	f.UintVar(&s.checkpointEvents, "checkpoint-events", operator.DefaultCheckpointEvents, "events between two checkpoints of the folded event log, at least; 0 turns checkpoints off")
	f.StringVar(&s.sealKeyFile, "seal-key-file", "", "file with the seed of the nkey (Ed25519) that seals the event log; by default the operator makes one in the Secret fleet-seal-key")
	f.IntVar(&s.sealEvents, "seal-events", seal.DefaultEvents, "events after which the log is sealed")
	f.DurationVar(&s.sealInterval, "seal-interval", seal.DefaultInterval, "how long an event waits for a seal at most")
	f.DurationVar(&s.pulseInterval, "pulse-interval", operator.DefaultPulseInterval, "how often a device pulses; three missed ones mean offline")
	f.Var(&s.prometheus, "prometheus", "`name=URL` of a Prometheus server that the gates of rollouts may ask by that name; may be given again")
	f.Var(&s.prometheusTokens, "prometheus-token-file", "`name=FILE` with the bearer token for the Prometheus server of that name, read again for each question; may be given again")
	f.StringVar(&s.deviceLabels, "device-labels", string(operator.LabelsReported), "which labels select: reported (by the agents, and set by persons) or registered (set by persons alone)")
	f.BoolVar(&s.adoptCluster, "adopt-cluster", false, "take over an event log that belongs to another cluster")
	f.StringVar(&s.listen, "listen", ":18082", "address of /metrics, /healthz, /readyz and /api/v1/events; empty for none")
	f.BoolVar(&s.eventsAPI, "events-api", true, "serve the events of the log at /api/v1/events, to each client that reaches --listen")
	f.StringVar(&s.dashboard, "dashboard", "", "address of the web dashboard and its JSON API, such as 127.0.0.1:18080; empty for none. Without --dashboard-issuer it only reads, and asks nobody to sign in, so it listens on the loopback alone")
	f.BoolVar(&s.dashboardOpen, "dashboard-open-to-the-network", false, "let --dashboard be another address than the loopback: each who reaches it may read all that the event log says")
	f.StringVar(&s.signIn.URL, "dashboard-url", "", "address by which persons open the dashboard, such as https://fleet.example.org; the dashboard answers to its name alone")
	f.StringVar(&s.signIn.Issuer, "dashboard-issuer", "", "issuer of the OpenID provider by which persons sign in to the dashboard; then --dashboard may be any address, and the auth callout decides who is let in")
	f.StringVar(&s.signIn.ClientID, "dashboard-client-id", "", "client id of the dashboard's application at the provider")
	f.StringVar(&s.signIn.ClientSecretFile, "dashboard-client-secret-file", "", "file with the application's secret; without one it is a public client, with PKCE")
	f.StringVar(&s.signIn.Project, "dashboard-project", "", "id of the fleet's project at the provider")
	f.StringVar(&s.signIn.IssuerCAFile, "dashboard-issuer-ca-file", "", "certificate authority of the provider, trusted beside the system's")
	f.StringVar(&s.traceEndpoint, "trace-endpoint", "", "URL of a trace collector that takes OTLP over HTTP, such as http://tempo:4318/v1/traces; $OTEL_EXPORTER_OTLP_ENDPOINT and the other variables of OpenTelemetry are heeded too. Without any of them events name no trace, and none is told")
	f.IntVar(&s.traceDevices, "trace-devices", operator.DefaultTraceDevices, "how many assignments of a change have their spans exported; those that fail have them beside these; -1 for all")
	f.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "DEBUG, INFO, WARN or ERROR")
	showVersion := f.Bool("version", false, "print the version and end")

	var bad error
	f.VisitAll(func(fl *flag.Flag) {
		name := envPrefix + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		if v := getenv(name); v != "" && bad == nil && fl.Name != "version" {
			if err := f.Set(fl.Name, v); err != nil {
				bad = fmt.Errorf("$%s: %w", name, err)
			}
		}
	})
	if bad != nil {
		return s, bad
	}
	servers, tokens := s.prometheus, s.prometheusTokens // of the environment, which is weaker
	s.prometheus, s.prometheusTokens = nil, nil
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(stderr)
		_, _ = fmt.Fprintln(stderr, "fleet-operator decides what runs on which devices. Each flag is also an environment variable: --nats-url is $FLEET_NATS_URL.")
		f.PrintDefaults()
		return s, errHelp
	case err != nil:
		return s, fmt.Errorf("%w; see fleet-operator --help", err)
	case f.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q; see fleet-operator --help", f.Arg(0))
	}
	if s.prometheus == nil {
		s.prometheus = servers
	}
	if s.prometheusTokens == nil {
		s.prometheusTokens = tokens
	}
	s.traces = operator.TracesConfigured(s.traceEndpoint, getenv)
	if *showVersion {
		_, _ = fmt.Fprint(stderr, version.Read().Text())
		return s, errHelp
	}
	return s, nil
}

// options reads the files that the settings name.
func (s settings) options(logger *slog.Logger, registry *prometheus.Registry) (operator.Options, error) {
	config, err := s.kubernetes()
	if err != nil {
		return operator.Options{}, err
	}
	var opts []nats.Option
	switch {
	case s.natsCreds != "" && s.natsUser != "":
		return operator.Options{}, errors.New("give --nats-creds or --nats-user, not both")
	case s.natsCreds != "":
		if _, err := os.Stat(s.natsCreds); err != nil {
			return operator.Options{}, fmt.Errorf("--nats-creds: %w", err)
		}
		opts = append(opts, nats.UserCredentials(s.natsCreds))
	case s.natsUser != "":
		opts = append(opts, nats.UserInfo(s.natsUser, s.natsPassword))
	}
	var trust []nats.Option
	if s.natsCA != "" {
		trust = append(trust, nats.RootCAs(s.natsCA))
	}
	if s.sealKeyFile != "" {
		if _, err := os.Stat(s.sealKeyFile); err != nil {
			return operator.Options{}, fmt.Errorf("--seal-key-file: %w", err)
		}
	}
	servers, err := operator.PrometheusServers(s.prometheus, s.prometheusTokens)
	if err != nil {
		return operator.Options{}, err
	}
	for _, server := range servers {
		if server.TokenFile == "" {
			continue
		}
		if _, err := os.Stat(server.TokenFile); err != nil {
			return operator.Options{}, fmt.Errorf("--prometheus-token-file %s: %w", server.Name, err)
		}
	}
	checkpointEvents := int(min(s.checkpointEvents, math.MaxInt))
	if checkpointEvents == 0 {
		checkpointEvents = -1
	}
	return operator.Options{
		URL: s.natsURL, NATSOptions: append(opts, trust...), NATSTrust: trust, NATSWait: s.natsWait, RestConfig: config,
		Identity: s.identity, Namespace: s.namespace,
		Replicas: s.replicas, LogMaxBytes: s.logMaxBytes, CheckpointEvents: checkpointEvents,
		SealKeyFile: s.sealKeyFile, SealEvents: s.sealEvents, SealInterval: s.sealInterval,
		Prometheus: servers, PulseInterval: s.pulseInterval, DeviceLabels: operator.DeviceLabels(s.deviceLabels), AdoptCluster: s.adoptCluster,
		ListenAddr: s.listen, NoEventsAPI: !s.eventsAPI, DashboardAddr: s.dashboard, DashboardOpen: s.dashboardOpen, DashboardSignIn: s.signIn,
		Traces: s.traces, TraceEndpoint: s.traceEndpoint, TraceDevices: s.traceDevices, Logger: logger, Registry: registry,
	}, nil
}

func (s settings) kubernetes() (*rest.Config, error) {
	if s.kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("no --kubeconfig, and not in a pod: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return config, nil
}
