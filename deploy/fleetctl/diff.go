package fleetctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/viewdiff"
)

// diffFlags are the flags of diff.
type diffFlags struct {
	from, to           string
	asHappened         bool
	deployment, device string
	output             string
	exitCode, quiet    bool
}

func newDiff(s cli.Streams, c *query.Connection) *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:   "diff --from MOMENT [--to MOMENT]",
		Short: "Show in what the fleet differs between two moments",
		Long: `Show in what the fleet differs between two moments.

Deployments that came, changed (each field of their scores) and ended; devices
that came, went, turned online or offline, or carry other labels; what was
assigned to which device and withdrawn; and what the devices say of it. It
compares two states and not the way between them: what happened and was undone
does not show; fleetctl log and fleetctl history tell that.

` + momentHelp + `

Differences are no failure: the exit code is 0. With --exit-code it is 1 where
there are any, as git's; with -q nothing is printed besides.`,
		Example: `  fleetctl diff --from -1h
  fleetctl diff --from 1200 --to 1300 --deployment default/hello
  fleetctl diff --from 14:00 --to 14:30 --device edge-01 -o json
  fleetctl diff -q --from -5m || echo something changed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return diff(cmd.Context(), s, c, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "the first moment: a sequence, a time or how long ago (-15m)")
	flags.StringVar(&f.to, "to", "", "the second moment; default now")
	flags.BoolVar(&f.asHappened, "as-happened", false, "by event time (when it happened) instead of log time (when the log recorded it)")
	flags.StringVar(&f.deployment, "deployment", "", "only what is about this Deployment: NAMESPACE/NAME or NAME")
	flags.StringVar(&f.device, "device", "", "only what is about this device")
	flags.StringVarP(&f.output, "output", "o", render.OutputText, "text or json")
	flags.BoolVar(&f.exitCode, "exit-code", false, "exit with 1 where there are differences")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing, and --exit-code")
	completeMoments(cmd, "from", c)
	completeMoments(cmd, "to", c)
	complete.Flag(cmd, "deployment", completion{c}.qualified)
	complete.Flag(cmd, "device", completion{c}.device)
	complete.Flag(cmd, "output", complete.Words([]string{render.OutputText, render.OutputJSON}))
	return cmd
}

func diff(ctx context.Context, s cli.Streams, c *query.Connection, f diffFlags) error {
	if f.from == "" {
		return cli.Misused(errors.New("missing --from"), s.Program()+" diff --from -15m")
	}
	sel, err := query.NewSelection(f.device, f.deployment, nil)
	if err != nil {
		return cli.Misused(err, s.Program()+" diff --help")
	}
	if err := complete.CheckTextOrJSON(f.output); err != nil {
		return err
	}
	var moments [2]query.Moment
	for i, at := range []struct{ flag, text string }{{"--from", f.from}, {"--to", f.to}} {
		m, err := query.ParseMoment(s, at.flag, at.text)
		if err != nil {
			return err
		}
		moments[i] = query.Moment{Moment: m, AsHappened: f.asHappened}
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	var views [2]*fleet.View
	var places [2]render.LogPosition
	for i, m := range moments {
		if m, err = c.WithTime(ctx, nc, js, m); err != nil {
			return err
		}
		if views[i], err = viewAt(ctx, s, c, nc, js, m); err != nil {
			return err
		}
		places[i] = render.LogPosition{Sequence: views[i].Sequence, Time: views[i].Recorded}
		if f.asHappened && !m.IsNow() {
			places[i].Time = m.Time.UTC()
		}
	}
	d := render.Difference{From: places[0], To: places[1], Changes: []viewdiff.Change{}}
	for _, change := range viewdiff.Between(views[0], views[1]) {
		if sel.Concerns(change) {
			d.Changes = append(d.Changes, change)
		}
	}
	if len(d.Changes) == 0 {
		if err := sel.CheckKnown(ctx, s, js, "diff --from "+f.from); err != nil {
			return c.Explain(err, nc)
		}
	}
	return showDifference(s, f, d)
}

// showDifference writes the differences, and gives the exit code.
func showDifference(s cli.Streams, f diffFlags, d render.Difference) error {
	if !f.quiet {
		if f.output == render.OutputJSON {
			b, err := json.MarshalIndent(d, "", "    ")
			if err != nil {
				return cli.Failed(fmt.Errorf("encode the differences: %w", err), "")
			}
			s.Tell("%s\n", b)
		} else {
			s.Tell("%s", d.Text(s.Color))
		}
	}
	if len(d.Changes) > 0 && (f.exitCode || f.quiet) {
		return cli.ExitCode(cli.ExitFailed)
	}
	return nil
}
