package enrolling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/enroll"
	"fleet.nationtech.io/deploy/fleetctl/access"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
)

// unenrollFlags are the flags of unenroll.
type unenrollFlags struct {
	reach    ReachFlags
	provider ProviderFlags

	id, auth, reason, output                            string
	unreachable, keepUser, forget, volumes, dryRun, yes bool
}

// NewUnenroll makes the command unenroll.
func NewUnenroll(s cli.Streams, b *access.Settings, c *query.Connection, decommission Decommission) *cobra.Command {
	var f unenrollFlags
	cmd := &cobra.Command{
		Use:   "unenroll [ssh://USER@HOST:PORT | local]",
		Short: "Take a device off the fleet, and the fleet off the device",
		Long: `Take a device off the fleet, and the fleet off the device.

On the device, the agent is stopped, and its containers, its binary, its unit, its
configuration, its key and its data are removed. Podman and its images are kept, and so
are the volumes of its Deployments, unless --volumes says otherwise. Then the device is
decommissioned, its keys are removed at the provider, and its machine user is
deactivated: enrolled again, it gets the same id. --forget deletes the machine user; the
provider may never give the id again then.

A device that is lost or broken: --unreachable --id ID. Where it is alive after all,
its agent removes its containers when it is told that it is decommissioned.`,
		Example: `  fleetctl unenroll ssh://pi@10.0.0.5
  fleetctl unenroll local --volumes --yes
  fleetctl unenroll --unreachable --id pi-01 --reason 'stolen'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), s, b, c, decommission, cmd.InOrStdin(), args)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return []cobra.Completion{Local, "ssh://"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.id, "id", "", "the device's id (default the one in the device's configuration)")
	flags.BoolVar(&f.unreachable, "unreachable", false, "leave the device itself as it is: it cannot be reached")
	flags.StringVar(&f.auth, "auth", "", "with --unreachable: how the device proved who it is (default "+string(enroll.Zitadel)+" where the context has a provider)")
	flags.BoolVar(&f.keepUser, "keep-user", false, "leave the machine user and its keys at the provider as they are")
	flags.BoolVar(&f.forget, "forget", false, "delete the machine user; its id may never be used again")
	flags.BoolVar(&f.volumes, "volumes", false, "remove the volumes of the device's Deployments, with their data")
	flags.StringVar(&f.reason, "reason", "", "why, for the log")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show what would be done, and change nothing")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	f.provider.Bind(cmd)
	f.reach.Bind(cmd)
	complete.BindPipedOutput(cmd, &f.output)
	complete.Flag(cmd, "auth", complete.Words(enroll.Flavours()))
	return cmd
}

func (f *unenrollFlags) run(ctx context.Context, s cli.Streams, b *access.Settings, c *query.Connection, decommission Decommission, stdin io.Reader, args []string) error {
	asJSON, err := complete.PipedAsJSON(s, f.output)
	switch {
	case err != nil:
		return err
	case (len(args) == 0) != f.unreachable:
		return cli.Misused(errors.New("unenroll needs the device, or --unreachable"), s.Program()+" unenroll ssh://pi@10.0.0.5, or --unreachable --id pi-01")
	case f.unreachable && f.id == "":
		return cli.Misused(errors.New("a device that cannot be reached must be named"), "--id pi-01")
	case f.forget && f.keepUser:
		return cli.Misused(errors.New("--forget and --keep-user exclude each other"), "give one of the two")
	case !f.yes && !f.dryRun && !s.Terminal:
		return cli.Misused(errors.New("standard output is not a terminal, so nobody can be asked"), "--yes")
	}
	chosen, err := b.Chosen()
	if err != nil {
		return err
	}
	in := f.provider.Complete(chosen)
	fleet := &enrollFleet{streams: s, connection: c, decommission: decommission}
	defer fleet.close()
	if err := fleet.open(); err != nil {
		return err
	}
	terminal := &Terminal{}
	if err := f.reach.Prepare(s, terminal); err != nil {
		return err
	}
	began := s.Now()
	d := enroll.Departure{
		ID: f.id, Fleet: fleet, Forget: f.forget, Volumes: f.volumes, Reason: f.reason, DryRun: f.dryRun,
		Identity: f.auth != string(enroll.Shared) && (f.auth != "" || in.Issuer != ""),
		Show:     func(step enroll.Step) { ShowStep(s, step, asJSON) },
	}
	if !f.keepUser {
		d.Provider = func(ctx context.Context) (enroll.Provider, error) { return f.provider.SignIn(ctx, s, in) }
	}
	if !f.yes {
		d.Confirm = func(id string, steps []enroll.Step) error { return f.confirm(s, stdin, id, steps) }
	}
	if !f.unreachable {
		m, err := f.reach.Open(ctx, args[0])
		if err != nil {
			return endOne(ctx, s, asJSON, enroll.Outcome{Device: f.id}, &enroll.Error{Step: "connect", Err: err, Try: "for a device that is lost: --unreachable --id ID"}, began, "", "")
		}
		defer m.Close()
		d.Machine = m
	}
	out, err := d.Run(ctx)
	return endOne(ctx, s, asJSON, out, err, began, "unenrolled", "would be unenrolled")
}

// confirm tells a person what goes, and asks.
func (f *unenrollFlags) confirm(s cli.Streams, stdin io.Reader, id string, steps []enroll.Step) error {
	var changes []string
	for _, step := range steps {
		if step.State == enroll.Change {
			changes = append(changes, fmt.Sprintf("  %-12s %s", step.Name, render.Printable(step.Detail)))
		}
	}
	if len(changes) == 0 {
		return nil
	}
	s.Warn("Unenrolling %s:\n%s\n", id, strings.Join(changes, "\n"))
	if f.forget {
		s.Warn("The machine user is deleted. The provider may never give the id %s again.\n", id)
	}
	return cli.Confirm(s, stdin, "Do that?")
}
