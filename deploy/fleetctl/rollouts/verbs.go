package rollouts

import (
	"fmt"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// verb is a command that asks something of the operator.
type verb struct {
	name    string // of the command, and of the request
	short   string
	long    string
	example string
	bind    func(cmd *cobra.Command, f *requestFlags)
	// asks is the question that a person answers first; nil: none is asked.
	asks func(d *fleet.Deployment, f *requestFlags) string
}

// verbs lists them, in the order in which a person needs them.
func verbs() []verb {
	return []verb{
		{
			name: eventlog.RequestPause, short: resource.Does(eventlog.RequestPause),
			long: `Hold a rollout: no device is given anything until resume, by the spec or a rollback
neither. What a device was given before goes on, and is not judged.

The hold belongs to the Deployment, not to the run: a new manifest, as by a GitOps
engine, does not end it. A pause is never too late: it is not tied to the batch that its
author saw.`,
			example: "  fleetctl rollout pause deployment/web -n shop --reason 'shop 17 reports broken tills'",
		},
		{
			name: eventlog.RequestResume, short: resource.Does(eventlog.RequestResume),
			long: `End a hold, or let a rollout go on that the operator paused. The devices that failed
get another deadline, and their soak begins again.`,
			example: "  fleetctl rollout resume web -n shop",
		},
		{
			name: eventlog.RequestPromote, short: resource.Does(eventlog.RequestPromote),
			long: `Let a rollout go on after the open batch: as the approval that a batch waits for, or
although its devices have not proven the revision, or failed.

--full lets it go on to its end: batches are still given one after the other, within
maxUnavailable and DisruptionBudgets, and none is judged any more. That cannot be taken
back but by pause, abort or undo, so it asks first.

A batch with fourEyes is approved in Kubernetes alone, which can tell two persons apart.`,
			example: "  fleetctl rollout promote web -n shop\n  fleetctl rollout promote web --full --yes --reason 'the fix for the outage'",
			bind: func(cmd *cobra.Command, f *requestFlags) {
				cmd.Flags().BoolVar(&f.full, "full", false, "to the end of the run: nothing is judged any more")
				bindYes(cmd, f)
			},
			asks: func(d *fleet.Deployment, f *requestFlags) string {
				if !f.full {
					return ""
				}
				return fmt.Sprintf("Let %s go to all its devices at revision %d, without a judgement?", d.Key, d.Run.Target.Revision)
			},
		},
		{
			name: eventlog.RequestAbort, short: resource.Does(eventlog.RequestAbort),
			long: `End a rollout. Each device keeps what it has, so that some run the new revision and some
the old one. What the spec says is refused until it changes, or by retry.

To go back to what ran before, use undo: it ends the rollout, too.`,
			example: "  fleetctl rollout abort web -n shop --yes",
			bind:    bindYes,
			asks: func(d *fleet.Deployment, _ *requestFlags) string {
				return fmt.Sprintf("Abort the rollout of %s to revision %d, and leave its devices as they are?", d.Key, d.Run.Target.Revision)
			},
		},
		{
			name: eventlog.RequestUndo, short: resource.Does(eventlog.RequestUndo),
			long: `Go back to what ran before: to the stable revision where the run did not complete, else
to the one that was stable before. --to-revision N goes to another of the last ten.

The rollback takes no batches and no soaks: it goes as fast as maxUnavailable and
DisruptionBudgets allow, and first to what is down. What the manifest says is refused
until it changes, so that a GitOps engine which applies it again redoes nothing. The
undo of an undo tries it again, as retry does.`,
			example: "  fleetctl rollout undo deployment/web -n shop\n  fleetctl rollout undo web --to-revision 3",
			bind: func(cmd *cobra.Command, f *requestFlags) {
				cmd.Flags().Uint64Var(&f.toRevision, "to-revision", 0, "the revision to go back to (default: what was stable before)")
			},
		},
		{
			name: eventlog.RequestRetry, short: resource.Does(eventlog.RequestRetry),
			long: `Try again what was refused after a rollback or an abort: a new run of what the spec
says, from the first batch.`,
			example: "  fleetctl rollout retry web -n shop",
		},
		{
			name: eventlog.RequestRetryFailed, short: resource.Does(eventlog.RequestRetryFailed),
			long: `Give the failed devices of a paused rollout another deadline. The agents have gone on
trying meanwhile; this is the word for it where what they failed by was mended outside,
such as a registry. It does what resume does.`,
			example: "  fleetctl rollout retry-failed web -n shop --reason 'the registry is back'",
		},
		{
			name: eventlog.RequestRestart, short: resource.Does(eventlog.RequestRestart),
			long: `Make the containers of what is out again, in batches, as a new revision would. The spec
does not change: the label rollout.nationtech.io/restart of each service is raised.`,
			example: "  fleetctl rollout restart deployment/web -n shop",
		},
	}
}

func bindYes(cmd *cobra.Command, f *requestFlags) {
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
}

func (e env) newVerb(v verb) *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use: v.name + " " + argsHelp, Short: v.short, Example: v.example, Args: oneDeployment,
		Long: v.long,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.read(e.s, cmd.Name(), args); err != nil {
				return err
			}
			return e.request(cmd.Context(), v, f, cmd.InOrStdin())
		},
	}
	e.bind(cmd, &f.about)
	flags := cmd.Flags()
	flags.StringVar(&f.reason, "reason", "", "why, for the log")
	flags.BoolVar(&f.wait, "wait", true, "wait until the operator has answered")
	flags.DurationVar(&f.timeout, "timeout", defaultWait, "how long to wait for the operator")
	if v.bind != nil {
		v.bind(cmd, &f)
	}
	complete.Flag(cmd, "timeout", complete.Words([]string{"10s", "1m"}))
	return cmd
}

// checkUser fails where the connection has no user in whose name a request could be.
func (e env) checkUser() error {
	if err := eventlog.CheckName("user", e.c.User); err != nil {
		return cli.Misused(fmt.Errorf("a request needs a user: %w", err), "--user")
	}
	return nil
}
