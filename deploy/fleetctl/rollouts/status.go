package rollouts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// statusFlags are the flags of status.
type statusFlags struct {
	about
	at         string
	asHappened bool
	watch      bool
	timeout    time.Duration
	revision   uint64
	devices    int
}

func (e env) newStatus() *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status " + argsHelp,
		Short: "Show how a rollout stands: its batches, its devices, and what it waits for",
		Long: `Show how a rollout stands: its batches, its devices, and what it waits for.

Each device that matches is in one of six standings, and their counts add up to the
devices that match: healthy (runs it and is well), skipped (will not be given it as
things stand), failed, offline, updating (is at work on it), waiting (has not been given
it). Of each the first few are named, with the first thing that they wait for.

-w goes on until the rollout ends: on a terminal it draws the tree again, in a pipe it
writes a line for each change, at most one a second. It ends with 0 when the run is
Completed, 6 when it is paused or held, 7 rolled back, 8 aborted, and 9 when it goes on
at --timeout. --revision N waits for that revision, also where the operator has not seen
it yet, and ends with 1 when a newer one takes its place.

--at takes a moment of the past: a sequence of the log (1234), a time (14:03, RFC 3339)
or how long ago (-15m).`,
		Example: `  fleetctl rollout status deployment/web -n shop
  fleetctl rollout status web -w --timeout 30m
  fleetctl rollout status web --at -1h
  fleetctl rollout status web -o json | jq .state`,
		Args: oneDeployment,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.watch = f.watch || cmd.Flags().Changed("timeout")
			if err := f.read(e.s, cmd.Name(), args); err != nil {
				return err
			}
			return e.status(cmd.Context(), f)
		},
	}
	e.bind(cmd, &f.about)
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "the rollout at a moment: a sequence (1234), a time (14:03, RFC 3339) or how long ago (-15m); default now")
	flags.BoolVar(&f.asHappened, "as-happened", false, "by event time (when it happened) instead of log time (when the log recorded it)")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on until the rollout ends")
	flags.DurationVar(&f.timeout, "timeout", 0, "with -w, which it implies: end with 9 after this long (default: never)")
	flags.Uint64Var(&f.revision, "revision", 0, "wait for this revision, and fail where a newer one takes its place")
	flags.IntVar(&f.devices, "devices", 3, "how many devices of each standing to name")
	e.completion.Moments(cmd, "at")
	return cmd
}

func (e env) status(ctx context.Context, f statusFlags) error {
	at, err := query.ParseMoment(e.s, "--at", f.at)
	if err != nil {
		return err
	}
	m := query.Moment{Moment: at, AsHappened: f.asHappened}
	switch {
	case f.watch && !m.IsNow():
		return cli.Misused(errors.New("-w and --at exclude each other: -w goes on from now"), "give one of the two")
	case f.watch && f.asHappened:
		return cli.Misused(errors.New("-w and --as-happened exclude each other: -w follows log time"), "give one of the two")
	case f.devices < 0:
		return cli.Misused(fmt.Errorf("--devices %d is below 0", f.devices), "--devices 3")
	}
	if f.watch {
		defer e.s.Follow()()
	}
	nc, js, err := e.c.OpenTo(e.s, f.watch)
	if err != nil {
		return err
	}
	defer nc.Close()
	if m, err = e.c.WithTime(ctx, nc, js, m); err != nil {
		return err
	}
	v, err := e.view(ctx, nc, js, m)
	if err != nil {
		return err
	}
	cat := resource.NewCatalog(v, m.Clock(e.s, v))
	p, ok := cat.Progress(f.key, f.devices)
	if !ok && (!f.watch || f.revision == 0) {
		return e.unknown(ctx, nc, js, f.key, "status", m)
	}
	if f.watch {
		if err := e.follow(ctx, js, cat, f); err != nil {
			return e.c.Explain(err, nc)
		}
		return nil
	}
	if f.revision > 0 && p.Revision != f.revision {
		return cli.Failed(fmt.Errorf("%s is at revision %d, not %d", f.key, p.Revision, f.revision), e.s.Program()+" rollout history "+f.key.Name+" -n "+f.key.Namespace)
	}
	if f.asJSON {
		return document(e.s, p)
	}
	render.Rollout(e.s, p)
	return nil
}

// outcome is how a rollout that is followed ended; done is false while it goes on.
func outcome(s cli.Streams, p resource.Progress, revision uint64) (done bool, err error) {
	name := fmt.Sprintf("%s/%s", p.Namespace, p.Name)
	verb := func(v string) string {
		return fmt.Sprintf("%s rollout %s %s -n %s", s.Program(), v, p.Name, p.Namespace)
	}
	switch {
	case revision > p.Revision:
		return false, nil // the operator has not seen it yet
	case revision > 0 && revision < p.Revision:
		return true, cli.Failed(fmt.Errorf("revision %d took the place of revision %d of %s", p.Revision, revision, name), verb("status"))
	}
	reason := ""
	if p.Reason != "" {
		reason = ": " + p.Reason + ": " + p.Message
	}
	switch p.State {
	case string(fleet.PhaseCompleted):
		return true, nil
	case string(fleet.PhasePaused), resource.StateHeld:
		return true, cli.FailedWith(cli.ExitPaused, fmt.Errorf("the rollout of %s is %s%s", name, lower(p.State), reason), p.Do)
	case string(fleet.PhaseRolledBack):
		return true, cli.FailedWith(cli.ExitRolledBack, fmt.Errorf("the rollout of %s was rolled back%s", name, reason), p.Do)
	case string(fleet.PhaseAborted):
		return true, cli.FailedWith(cli.ExitAborted, fmt.Errorf("the rollout of %s was aborted%s", name, reason), p.Do)
	case resource.StateDeleted:
		return true, cli.Failed(fmt.Errorf("%s was deleted", name), s.Program()+" history deployment/"+p.Name+" -n "+p.Namespace)
	case resource.StateOrphaned:
		return true, cli.Failed(fmt.Errorf("%s is orphaned: its custom resource is gone", name), p.Do)
	}
	return false, nil
}

func lower(state string) string {
	switch state {
	case resource.StateHeld:
		return "held"
	case string(fleet.PhasePaused):
		return "paused"
	}
	return state
}
