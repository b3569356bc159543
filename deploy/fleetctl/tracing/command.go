// Package tracing has the command trace: where the time of a change went.
package tracing

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// Completion is how a shell completes what the log has.
type Completion struct {
	Deployment, Namespace cobra.CompletionFunc
	Moments               func(cmd *cobra.Command, flag string)
}

// flags are those of trace.
type flags struct {
	namespace, at, output string
	run                   uint64
	devices               int
}

// New gives the command trace.
func New(s cli.Streams, c *query.Connection, completion Completion) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "trace deployment/NAME",
		Short: "Show where the time of a change went: its batches, devices, steps and reports",
		Long: `Show where the time of a change went: its batches, devices, steps and reports.

A change begins with a new spec of the Deployment and ends when its run is completed,
rolled back or aborted, or when a newer spec takes its place. A run that begins after
that, such as by fleetctl rollout restart, is a change of its own, and so is a deletion:
it ends when no device reports the Deployment any more. The last change is shown, or with --run the one that a run belongs to; fleetctl rollout history shows the
numbers of runs.

Each line is a span, indented below the one that it is part of: when it began, counted
from the beginning of the change; a bar; how long it took; how it ended. Of devices
those that failed come first, then the slowest. Bars that are not filled go on.

All of it is derived from the event log; no trace collector is needed. The ids are those
that an operator with --trace-endpoint sends. -o json has all spans.

--at takes a moment of the past: a sequence of the log (1234), a time (14:03, RFC 3339)
or how long ago (-15m).`,
		Example: `  fleetctl trace deployment/web -n shop
  fleetctl trace deployment/web -n shop --run 4711
  fleetctl trace deployment/web -n shop --at -1h --devices 0
  fleetctl trace deployment/web -o json | jq '.spans | map(select(.kind == "step")) | max_by(.took_seconds)'`,
		Args:              cobra.RangeArgs(1, 2),
		RunE:              func(cmd *cobra.Command, args []string) error { return show(cmd.Context(), s, c, f, args) },
		ValidArgsFunction: completion.Deployment,
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.namespace, "namespace", "n", "default", "the Deployment's namespace")
	fs.StringVar(&f.at, "at", "", "the change up to a moment: a sequence (1234), a time (14:03, RFC 3339) or how long ago (-15m); default now")
	fs.Uint64Var(&f.run, "run", 0, "the change that this run belongs to: the number of its rollout.started (default: the last change)")
	fs.IntVar(&f.devices, "devices", 20, "how many devices to show as text; 0: all")
	fs.StringVarP(&f.output, "output", "o", render.OutputText, "text, json or yaml")
	complete.Flag(cmd, "output", complete.Words([]string{render.OutputText, render.OutputJSON, render.OutputYAML}))
	complete.Flag(cmd, "namespace", completion.Namespace)
	completion.Moments(cmd, "at")
	return cmd
}

// question reads what a person asks.
func (f flags) question(s cli.Streams, args []string) (question, error) {
	q := question{run: f.run}
	name, err := resource.DeploymentArg(args)
	if err != nil {
		return q, cli.Misused(err, s.Program()+" trace deployment/web -n "+f.namespace)
	}
	if err := eventlog.CheckName("namespace", f.namespace); err != nil {
		return q, cli.Misused(err, "-n default")
	}
	if f.devices < 0 {
		return q, cli.Misused(fmt.Errorf("--devices %d is below 0", f.devices), "--devices 20")
	}
	if err := render.CheckOutput(f.output); err != nil {
		return q, err
	}
	q.key = fleet.Key{Namespace: f.namespace, Name: name}
	q.at, err = query.ParseMoment(s, "--at", f.at)
	return q, err
}

func show(ctx context.Context, s cli.Streams, c *query.Connection, f flags, args []string) error {
	q, err := f.question(s, args)
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
	p := render.NewProgress(s, "reading the log")
	d, err := readChange(reading, js, q, p.Report)
	p.End()
	switch {
	case errors.Is(err, errUnknown):
		when := ""
		if !q.at.IsNow() {
			when = " at that moment"
		}
		m := query.Moment{Moment: q.at}
		return c.Explain(query.UnknownDeployment(reading, s, js, fmt.Errorf("%w %s%s", errUnknown, q.key, when), q.key.Namespace, q.key.Name, query.HintsByRef("trace", m)), nc)
	case errors.As(err, new(unknownRunError)):
		return cli.Failed(err, s.Program()+" rollout history "+q.key.Name+" -n "+q.key.Namespace)
	case err != nil:
		return c.Explain(err, nc)
	}
	if ok, err := render.Document(s, f.output, d); ok {
		return err
	}
	draw(s, d, f.devices)
	return nil
}
