// Package bisecting has the command bisect: after which event something became true.
package bisecting

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/predicate"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/bisect"
)

// flags are those of bisect.
type flags struct {
	good, bad, run, output string
}

// New gives the command bisect. moments completes a flag that takes a moment.
func New(s cli.Streams, c *query.Connection, moments func(cmd *cobra.Command, flag string)) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "bisect --good MOMENT [--bad MOMENT] 'PREDICATE' | --exec COMMAND",
		Short: "Find the event after which something became true, as git bisect does",
		Long: `Find the event after which something became true, as git bisect does.

At --good it is not true yet, at --bad (default now) it is. What is between is halved
until the event is found, in less than 20 looks at 100,000 events. Each look folds the
log up to there, from the nearest saved view on. The answer is that event, as
fleetctl log shows it, with the chain of events that led to it.

Where it became true and untrue more than once, one of the times is found, and there may
be others: bisect again between other moments.

` + predicate.Help + `

--exec takes a command in place of a predicate. It is run by sh at each look, with the
moment in $FLEET_BISECT_SEQUENCE and $FLEET_BISECT_TIME, and has on its standard input
what a predicate sees, as one JSON document. Exit code 0 says that it is true, 125 that
nobody can say (the look is skipped), any other up to 124 that it is not; 126, 127 and
more end the search. Its output goes to standard error.

A moment is a sequence of the log (1234), a time (14:03, RFC 3339) or how long ago
(-15m, -3d).`,
		Example: `  fleetctl bisect --good -1d 'deployments["shop/web"].status.aggregate.failed > 3'
  fleetctl bisect --good 1200 --bad 98000 '!("edge-01" in devices)'
  fleetctl bisect --good -7d 'devices["edge-01"].status.conditions.exists(c, c.type == "Online" && c.status == "False")'
  fleetctl bisect --good -1d 'devices.filter(d, devices[d].status.deployments.failed > 0).size() > 10' -o json
  fleetctl bisect --good -1h --exec 'jq -e ".rollouts[\"shop/web\"].status.phase == \"Paused\""'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return find(cmd.Context(), s, c, f, args) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.good, "good", "", "a moment at which it is not true yet: a sequence, a time or how long ago (-1d)")
	fs.StringVar(&f.bad, "bad", "", "a later moment at which it is true; default now")
	fs.StringVar(&f.run, "exec", "", "a command that says whether it is true, by its exit code")
	moments(cmd, "good")
	moments(cmd, "bad")
	complete.BindPipedOutput(cmd, &f.output)
	return cmd
}

// judge reads what is to be found.
func (f flags) judge(s cli.Streams, args []string) (judge, error) {
	switch {
	case f.run != "" && len(args) > 0:
		return nil, cli.Misused(errors.New("--exec and a predicate exclude each other"), "give one of the two")
	case f.run != "":
		if _, err := exec.LookPath(shell); err != nil {
			return nil, cli.Failed(fmt.Errorf("--exec is run by %s: %w", shell, err), "a predicate in place of --exec")
		}
		return command{text: f.run, output: s.Err}.ask, nil
	case len(args) == 0 || strings.TrimSpace(args[0]) == "":
		return nil, cli.Misused(errors.New("missing predicate"), s.Program()+` bisect --good -1d '"shop/web" in deployments'`)
	}
	p, err := predicate.Compile(args[0])
	if err != nil {
		return nil, cli.Misused(err, s.Program()+" bisect --help has what a predicate sees")
	}
	return expression{p}.ask, nil
}

func find(ctx context.Context, s cli.Streams, c *query.Connection, f flags, args []string) error {
	if f.good == "" {
		return cli.Misused(errors.New("missing --good"), s.Program()+" bisect --good -1d 'PREDICATE'")
	}
	asJSON, err := complete.PipedAsJSON(s, f.output)
	if err != nil {
		return err
	}
	var ends [2]asof.Moment
	for i, at := range []struct{ flag, text string }{{"--good", f.good}, {"--bad", f.bad}} {
		if ends[i], err = query.ParseMoment(s, at.flag, at.text); err != nil {
			return err
		}
	}
	if err := query.CheckOrder(ends[0], ends[1], "--good "+f.good, "--bad "+f.bad); err != nil {
		return err
	}
	ask, err := f.judge(s, args)
	if err != nil {
		return err
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	reading, stop := c.Permitted(ctx)
	defer stop()
	p, err := newPast(reading, s, js, ends, ask)
	if err != nil {
		return c.Explain(err, nc)
	}
	a := &answer{s: s, past: p, text: !asJSON}
	a.Result, err = bisect.Search(p.from, p.to, p.look, a.step)
	switch {
	case ctx.Err() != nil, errors.Is(err, errInterrupted):
		return cli.Interrupted("")
	case errors.Is(err, bisect.ErrOrder) && p.from > p.to:
		return cli.Failed(fmt.Errorf("--good, which is sequence %d, is after --bad, which is sequence %d", p.from, p.to), "an earlier --good, or a later --bad; to find when it became untrue, turn the predicate round")
	case errors.Is(err, bisect.ErrOrder):
		return cli.Failed(fmt.Errorf("--good and --bad are the same place in the log, sequence %d", p.from), "an earlier --good, or a later --bad")
	case errors.Is(err, bisect.ErrTrue):
		return cli.Failed(fmt.Errorf("it is true at --good already, which is sequence %d", p.from), "an earlier --good; or turn the predicate round, to find when it became untrue")
	case errors.Is(err, bisect.ErrNotTrue):
		return cli.Failed(fmt.Errorf("it is not true at --bad, which is sequence %d%s", p.to, p.missed()), "another --bad, or another predicate")
	case errors.Is(err, bisect.ErrSkipped):
		return cli.Failed(fmt.Errorf("the command skipped an end: %w", err), "ends at which it can say whether it is true")
	case errors.Is(err, bisect.ErrTooMany):
		return cli.Failed(fmt.Errorf("the command skipped %w; it is between sequences %d and %d", err, a.No, a.Yes), "narrower ends: --good and --bad")
	case errors.As(err, new(judgeError)):
		return cli.Failed(err, "")
	case err != nil:
		return c.Explain(err, nc)
	}
	if err := a.read(reading, js); err != nil {
		return c.Explain(err, nc)
	}
	return a.show(asJSON)
}
