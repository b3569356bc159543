// Package installing has the commands install, upgrade and uninstall: the fleet's
// server side in a Kubernetes cluster.
package installing

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/install"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/health"
	"fleet.nationtech.io/deploy/install/provider"
	"fleet.nationtech.io/eventlog/version"
)

// NewInstall makes the command install.
func NewInstall(s cli.Streams) *cobra.Command {
	w := &wanted{}
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Put the fleet's server side into a Kubernetes cluster",
		Long: `Put the fleet's server side into a Kubernetes cluster.

It finds out what the cluster is, says what stands in the way before it changes
anything, and then makes, in this order: the namespace, the CRDs, Secrets and
certificates, and the NATS servers, the operator and the auth callout, each once the one
before it is ready. Where a part does not become ready it says why, in the words of its
pods and their events. At the end it connects to the NATS servers as devices do.

Run it again at any time: it changes only what differs, and goes on where it was cut
off. Passwords, keys and the fleet's certificate authority are made once and never
overwritten. What was set before stays set, unless --reset-values is given. Everything
is applied by server-side apply as field manager fleet-install. Where somebody else owns
a field it stops and names them; the CRDs alone are taken over.

docs/install.md explains what is made, and docs/kubernetes.md the values, and fleetctl uninstall takes it out again.`,
		Example: `  fleetctl install --profile lab --set callout.enabled=false --dry-run
  fleetctl install --profile production --provider fleet-keys -f fleet.yaml
  fleetctl install --bundle fleet.bundle --registry registry.example.com/fleet
  fleetctl install --set devices.expose=loadBalancer,devices.host=devices.example.com`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return w.install(cmd.Context(), s, false) },
	}
	w.bind(cmd)
	return cmd
}

// NewUpgrade makes the command upgrade.
func NewUpgrade(s cli.Streams) *cobra.Command {
	w := &wanted{}
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Bring an installed fleet to this version of fleetctl",
		Long: `Bring an installed fleet to this version of fleetctl: the CRDs first, then the NATS
servers, the operator and the auth callout, each once the one before it is ready.

The values are those that are installed, with --set and --values over them. Versions are
taken one minor at a time. Where a part does not become healthy the upgrade stops there:
the parts after it are of the former version still, which reads what the newer ones
write. Mend it and run the upgrade again, or go back by the install command of the
former version's fleetctl. Devices keep what they run meanwhile.

The images are those of this version below the REGISTRY/PREFIX that --images gave once.
Images that a person named otherwise must be given again: --bundle, or --set images.`,
		Example: `  fleetctl upgrade --dry-run
  fleetctl upgrade`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return w.install(cmd.Context(), s, true) },
	}
	w.bind(cmd)
	return cmd
}

func (w *wanted) install(ctx context.Context, s cli.Streams, upgrade bool) error {
	if err := complete.CheckTextOrJSON(w.output); err != nil {
		return err
	}
	values, err := w.values()
	if err != nil {
		return err
	}
	found, architectures, err := w.images.found(ctx, s, w.dryRun)
	if err != nil {
		return err
	}
	values = chart.Merge(found, values)
	r := report{streams: s, asJSON: w.output == render.OutputJSON, dryRun: w.dryRun, namespace: w.namespace}
	provider, probe, err := w.identity(&r, s.Now)
	if err != nil {
		return err
	}
	config, _, err := w.config()
	if err != nil {
		return err
	}
	result, err := install.Install(ctx, install.Options{
		Config: config, Namespace: w.namespace, Profile: w.profile, Values: values, ImagesFrom: w.images.repository, Provider: provider, Probe: probe, Architectures: architectures, Version: version.Version, Keep: !w.reset, Upgrade: upgrade,
		DryRun: w.dryRun, Force: w.force, SkipCheck: w.skipCheck, Timeout: w.timeout, Now: s.Now, Tell: r.progress, Found: r.findings,
	})
	switch {
	case ctx.Err() != nil:
		return cli.Interrupted("the same command again: it goes on where it stopped")
	case err != nil:
		return explainFrom(err, s.Program(), result.Former)
	}
	return r.outcome(result)
}

// explain adds what to do to an error.
func explain(err error, program string) error { return explainFrom(err, program, "") }

// explainFrom adds what to do to an error of an installation. former is the version that
// an upgrade leaves; empty: there is none to go back to.
func explainFrom(err error, program, former string) error {
	const (
		again     = "the same command again, once that is mended: it goes on where it stopped"
		thenAgain = " Then the same command again: it goes on where it stopped."
	)
	var refused *install.RefusedError
	var unready *health.NotReady
	var conflict *apply.Conflict
	var check *install.CheckError
	var wrong *install.VersionError
	var noProvider *provider.RefusedError
	var failed *provider.FailedError
	switch {
	case errors.As(err, &noProvider):
		return cli.Failed(err, again)
	case errors.As(err, &failed) && failed.Remedy != "":
		return cli.Failed(err, failed.Remedy)
	case errors.Is(err, install.ErrNothingInstalled):
		return cli.Failed(err, program+" install, or --namespace")
	case errors.As(err, &wrong):
		return cli.Failed(err, wrong.Remedy)
	case errors.As(err, &refused):
		return cli.Failed(err, again)
	case errors.As(err, &unready) && unready.Remedy() != "":
		return cli.Failed(err, unready.Remedy()+thenAgain+wayBack(former))
	case errors.As(err, &unready):
		return cli.Failed(err, again+"."+wayBack(former))
	case errors.As(err, &conflict):
		return cli.Failed(err, "--force-conflicts, to take these fields over; or set the values as the others did")
	case errors.As(err, &check):
		return cli.Failed(err, check.Remedy)
	case install.Remedy(err) != "":
		return cli.Failed(err, install.Remedy(err)+thenAgain)
	}
	return cli.Failed(err, again)
}

// wayBack says how to leave an upgrade that stopped.
func wayBack(former string) string {
	if former == "" {
		return ""
	}
	return " To go back instead: install, by the fleetctl of version " + former + ", with the images of that version where you named them one by one."
}
