package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/dev/provider"
	"fleet.nationtech.io/eventlog/version"
)

// Exit codes of fleet-dev.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the command line and gives its exit code: 0 when all went well, 1
// when something failed, 2 when the command line was wrong.
func Main(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:           "fleet-dev",
		Short:         "Run a whole fleet on this machine",
		Long:          "Run a whole fleet on this machine: NATS, a Kubernetes API, the operator, and devices\nwhose containers are real where Podman is there.",
		Version:       version.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("fleet-dev version " + version.Read().Text())
	usage := false
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		usage = true
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	})
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	root.AddCommand(upCommand(out, errOut), demoCommand(out, errOut), downCommand(out))
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitOK
	case usage || strings.HasPrefix(err.Error(), "unknown command"):
		fmt.Fprintln(errOut, "fleet-dev:", err)
		return exitUsage
	default:
		fmt.Fprintln(errOut, "fleet-dev:", err)
		return exitFailed
	}
}

// flags are the options that up and demo share.
func (o *Options) flags(c *cobra.Command) {
	o.usualDashboardPort = names.PortDashboard
	f := c.Flags()
	f.IntVar(&o.Devices, "devices", 3, "how many devices to run")
	f.StringVar(&o.Engine, "engine", EngineAuto, "what runs the containers: auto, podman or memory")
	f.StringVar(&o.Auth, "auth", AuthPassword, "how devices prove who they are: password; or oidc: by tokens of a local identity provider, over TLS")
	f.DurationVar(&o.TokenLifetime, "token-lifetime", 0, "how long a device's token holds with --auth=oidc (0: 12h)")
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "use the cluster of this file instead of running a Kubernetes API")
	f.BoolVar(&o.AdoptCluster, "adopt-cluster", false, "take over a log that belongs to another cluster")
	f.IntVar(&o.NATSPort, "nats-port", 0, "port of the NATS server (0: a free one, remembered)")
	f.IntVar(&o.MetricsPort, "metrics-port", 0, "port of the operator's metrics (0: a free one, remembered)")
	f.IntVar(&o.DashboardPort, "dashboard-port", 0, "port of the web dashboard (0: 18080 or, where that is taken, a free one; remembered)")
	f.DurationVar(&o.PulseInterval, "pulse-interval", 0, "interval of a device's pulses (0: 5s)")
	f.StringVar(&o.TraceEndpoint, "trace-endpoint", "", "URL of a trace collector that takes OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces")
	f.Int64Var(&o.LogMaxBytes, "log-max-bytes", 0, "how large the event log may grow (0: no limit)")
	for flag, values := range map[string][]string{"engine": {EngineAuto, EnginePodman, EngineMemory}, "auth": {AuthPassword, AuthOIDC}} {
		if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the flag was defined above
		}
	}
}

// logger writes the components' logs to a file: they are for when something is wrong.
func (o *Options) logger() (io.Closer, error) {
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(o.DataDir, "fleet.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	o.Logger = slog.New(slog.NewTextHandler(f, nil))
	return f, nil
}

func upCommand(out, _ io.Writer) *cobra.Command {
	var o Options
	c := &cobra.Command{
		Use:   "up",
		Short: "Run a fleet until Ctrl-C; its data is kept, so that up again is a recovery",
		Long: "Run a fleet until Ctrl-C. Its data is kept, so that up again is a recovery.\n\n" +
			"With --auth=oidc devices come in by keys: a local identity provider, which is for development alone,\n" +
			"gives them tokens, two replicas of the auth callout judge these, and NATS speaks TLS.\n" +
			"A data directory may change between the two ways at each start.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out = out
			log, err := o.logger()
			if err != nil {
				return err
			}
			defer log.Close()
			return Run(c.Context(), o, func(ctx context.Context, f *Fleet) error {
				fmt.Fprint(out, f.hints(o.DataDir))
				if f.Auth == AuthOIDC {
					fmt.Fprint(out, f.identityHints())
				}
				fmt.Fprint(out, f.observabilityHints())
				<-ctx.Done()
				fmt.Fprintln(out, "stopping; containers go on running, and `fleet-dev up` finds them again")
				return ctx.Err()
			})
		},
	}
	o.flags(c)
	c.Flags().StringVar(&o.DataDir, "data-dir", ".fleet", "where everything is kept")
	c.Flags().BoolVar(&o.Observability, "observability", false, "run this machine's Prometheus on the fleet, with its rules and alerts")
	c.Flags().IntVar(&o.PrometheusPort, "prometheus-port", 0, "port of Prometheus with --observability (0: a free one, remembered)")
	c.Flags().StringSliceVar(&o.Prometheus, "prometheus", nil, "`name=URL` of a Prometheus server that the gates of rollouts may ask by that name (may be given again)")
	c.Flags().StringSliceVar(&o.Legacy, "legacy", nil, "device id of an older agent that may connect by the KV API alone (may be given again)")
	c.Flags().StringVar(&o.Restore, "restore", "", "put this archive into NATS before the operator starts (fleetctl archive wrote it)")
	return c
}

func (f *Fleet) hints(dataDir string) string {
	return fmt.Sprintf(`
Ready. In another terminal:

  set -a; . %s; set +a
  kubectl apply -f crds/samples/
  kubectl wait --for=condition=Ready fleetdep/hello --timeout=60s
  kubectl get fleetdep,fleetdev -o wide
  kubectl label --overwrite fleetdev/%s site=other
  bin/fleetctl log -f

`, filepath.Join(dataDir, "env"), firstDevice(f.Devices))
}

// identityHints say what a person can try where identities are.
func (f *Fleet) identityHints() string {
	return fmt.Sprintf(`  bin/fleetctl log --type auth           # which identity each device came in with
  bin/fleetctl login --context local --url %s --ca-file %s \
    --issuer %s --client-id %s --project %s

The identity provider is for development: anyone who reaches it chooses who they are.

`, f.Env.NATSURL, f.Env.NATSCA, f.provider.Issuer(), provider.ClientID, provider.Project)
}

func firstDevice(ds []Device) string {
	if len(ds) == 0 {
		return "NAME"
	}
	return ds[0].ID
}

// demoPrefix keeps a demo's devices apart from those of a fleet that is up beside it,
// and of the demo of the other kind, on the same Podman.
func demoPrefix(auth string) string {
	if auth == AuthOIDC {
		return "demo-id"
	}
	return "demo"
}

func demoCommand(out, _ io.Writer) *cobra.Command {
	var o Options
	var keep bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the main job from end to end, check each step on the real parts, and clean up",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Devices < 1 {
				return errors.New("the demo needs at least one device")
			}
			dir, err := os.MkdirTemp("", "fleet-demo-")
			if err != nil {
				return err
			}
			o.DataDir, o.Out, o.Prefix = dir, out, demoPrefix(o.Auth)
			log, err := o.logger()
			if err != nil {
				return err
			}
			defer log.Close()
			fmt.Fprintf(out, "Starting a fleet of %d devices (--auth=%s):\n\n", o.Devices, o.Auth)
			err = Run(c.Context(), o, func(ctx context.Context, f *Fleet) error { return Tell(ctx, f, out) })
			if keep || err != nil {
				fmt.Fprintf(out, "\nThe data stays in %s (fleet.log has the components' logs), and the containers run on.\n"+
					"Remove both with: bin/fleet-dev down --data-dir %s\n", dir, dir)
				return err
			}
			return Remove(context.WithoutCancel(c.Context()), o)
		},
	}
	o.flags(c)
	c.Flags().BoolVar(&keep, "keep", false, "keep the data directory")
	return c
}

func downCommand(out io.Writer) *cobra.Command {
	var o Options
	c := &cobra.Command{
		Use:   "down",
		Short: "Remove a stopped fleet: its data and its devices' containers",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out = out
			if err := Remove(c.Context(), o); err != nil {
				return err
			}
			fmt.Fprintln(out, "removed", o.DataDir)
			return nil
		},
	}
	c.Flags().StringVar(&o.DataDir, "data-dir", ".fleet", "where everything is kept")
	return c
}
