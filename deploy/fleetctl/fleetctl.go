// Package fleetctl is the command line of the fleet: it reads the event log,
// asks devices whether they are there, and asks of the operator what a custom
// resource cannot say. It holds no product logic.
package fleetctl

import (
	"context"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/access"
	"fleet.nationtech.io/deploy/fleetctl/bisecting"
	"fleet.nationtech.io/deploy/fleetctl/checkup"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/enrolling"
	"fleet.nationtech.io/deploy/fleetctl/importing"
	"fleet.nationtech.io/deploy/fleetctl/installing"
	"fleet.nationtech.io/deploy/fleetctl/provider"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/release"
	"fleet.nationtech.io/deploy/fleetctl/rollouts"
	"fleet.nationtech.io/deploy/fleetctl/tracing"
	"fleet.nationtech.io/eventlog/version"
)

// Run runs one command line and returns its exit code. The context ends what
// follows the log.
func Run(ctx context.Context, s cli.Streams, args []string) int {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	out := s.Guard(stop)
	if s.Name == kubectlCompleter {
		s.Name, args = "kubectl-fleet", append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	root := newRoot(s)
	root.SetArgs(args)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	cmd, err := root.ExecuteContextC(ctx)
	return s.Report(out.Outcome(err), cmd.CommandPath())
}

func newRoot(s cli.Streams) *cobra.Command {
	var c query.Connection
	moments := func(cmd *cobra.Command, flag string) { completeMoments(cmd, flag, &c) }
	root := &cobra.Command{
		Use:   s.Name,
		Short: "Inspect and control a fleet",
		Long: `Inspect and control a fleet.

For a local fleet (fleet-dev up): set -a; . .fleet/env; set +a
For another one: fleetctl login, or fleetctl context add.

` + access.Help + `

Exit codes: 0 done, 1 it did not work (or differs, where that is asked), 2 the
command line was wrong, 3 (ping) nobody answered, 4 (verify) all agrees but
foreign messages were found, (import) entries were refused, or (archive) an older
archive could not be removed, 5 to 9 as fleetctl rollout says, 130 interrupted
before the end, 141 the reader of the output stopped, as in "| head". Ctrl-C ends
what follows the log with 0.`,
		Version:       version.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: s.Program()},
	}
	root.SetVersionTemplate(s.Program() + " version " + version.Read().Text())
	settings := access.Bind(root, s)
	c.Find = settings.Target
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { c.Until = cmd.Context() }
	root.AddCommand(
		access.NewContext(s, settings),
		access.NewLogin(s, settings),
		access.NewLogout(s, settings),
		access.NewWhoami(s, settings),
		newArchive(s, &c),
		bisecting.New(s, &c, moments),
		installing.NewCredentials(s),
		newDevice(s, &c),
		newDiff(s, &c),
		newDocs(s),
		checkup.NewDoctor(s, &c),
		enrolling.NewEnroll(s, settings, &c, devicesOf(s, &c)),
		newExplain(s, &c),
		newGet(s, &c),
		newHistory(s, &c),
		importing.New(s, &c),
		installing.NewInstall(s),
		newLint(s),
		newLog(s, &c),
		newPing(s, &c),
		newProve(s, &c),
		newRebuild(s, &c),
		newReplay(s, &c),
		newRestore(s, &c),
		rollouts.New(s, &c, rollouts.Completion{
			Deployment: completion{&c}.deploymentName, Namespace: completion{&c}.namespace,
			Moments: moments,
		}),
		checkup.NewTop(s, &c, moments),
		tracing.New(s, &c, tracing.Completion{
			Deployment: completion{&c}.deploymentName, Namespace: completion{&c}.namespace, Moments: moments,
		}),
		enrolling.NewUnenroll(s, settings, &c, decommissioner(s, &c)),
		installing.NewUninstall(s),
		installing.NewUpgrade(s),
		newVerify(s, &c),
		release.NewBundle(s),
		release.NewVersion(s),
		newWithdraw(s, &c),
		provider.NewZitadel(s, settings, installing.NewZitadelInstall(s, settings)),
	)
	for _, cmd := range root.Commands() {
		complete.NoFiles(cmd)
	}
	describeCompletion(root)
	return root
}
