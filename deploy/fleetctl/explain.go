package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/fleet"
)

// explainFlags are the flags of explain.
type explainFlags struct {
	momentFlags
	namespace string
	output    string
}

func newExplain(s cli.Streams, c *query.Connection) *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain device/NAME [deployment/NAME]",
		Short: "Say why a device is in its state, and what comes next",
		Long: `Say why a device is in its state, and what comes next.

With a Deployment: the chain of causes from the kubectl apply, by way of the labels
that match (or the requirement that they do not meet), to what the agent did and
reported last. Without one: the device itself, and a line for each Deployment.

It says too what the device waits for in a rollout, now or at a moment of the past:
which batch it is in and which one is open, a person's hold or approval, a soak, what
may be unavailable and who uses that up, what it depends on.

Each sentence begins with the event that proves it: its number in the log, to be
seen with fleetctl log. Where something is not in the log, the number is that of
the last event that was looked at. Only that part of the log is read which is
about the device; where a rollout waits for others, the fleet as it was then, too.

A Deployment on a device is, the first that holds:` + statesHelp() + `.
docs/status.md has the words that devices and the operator use.

` + momentHelp,
		Example: `  fleetctl explain device/edge-01
  fleetctl explain device/edge-01 deployment/hello
  fleetctl explain device edge-01 deployment hello -n shop --at -15m
  fleetctl explain device/edge-01 -o json | jq .state`,
		Args: cobra.RangeArgs(1, 4),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showExplanation(cmd.Context(), s, c, f, args)
		},
		ValidArgsFunction: completion{c}.refs,
	}
	f.bind(cmd, c)
	flags := cmd.Flags()
	flags.StringVarP(&f.namespace, "namespace", "n", "", "the Deployment's namespace (default: that of the one which the device has, or the only one)")
	flags.StringVarP(&f.output, "output", "o", render.OutputText, "text, json or yaml")
	complete.Flag(cmd, "output", complete.Words([]string{render.OutputText, render.OutputJSON, render.OutputYAML}))
	complete.Flag(cmd, "namespace", completion{c}.namespace)
	return cmd
}

// question reads what a person asks.
func (f explainFlags) question(args []string) (explain.Question, error) {
	var q explain.Question
	things, err := resource.ParseRefs(args)
	if err != nil {
		return q, err
	}
	for _, t := range things {
		switch {
		case t.IsDevice() && q.Device == "":
			q.Device = t.Name
		case t.IsDeployment() && q.Deployment.Name == "":
			q.Deployment = fleet.Key{Namespace: f.namespace, Name: t.Name}
		default:
			return q, errors.New("explain takes one device, and at most one Deployment on it")
		}
	}
	switch {
	case q.Device == "":
		return q, errors.New("missing device; what a Deployment does on all devices: history deployment/" + q.Deployment.Name)
	case f.namespace == "":
		return q, nil
	case q.Deployment.Name == "":
		return q, errors.New("-n is only for a Deployment: devices have no namespace")
	}
	return q, eventlog.CheckName("namespace", f.namespace)
}

func showExplanation(ctx context.Context, s cli.Streams, c *query.Connection, f explainFlags, args []string) error {
	q, err := f.question(args)
	if err != nil {
		return cli.Misused(err, s.Program()+" explain device/NAME deployment/NAME, or "+s.Program()+" explain --help")
	}
	if err := render.CheckOutput(f.output); err != nil {
		return err
	}
	m, err := f.parse(s)
	if err != nil {
		return err
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	p := render.NewProgress(s, "reading the log")
	x, err := query.ReadExcerpt(ctx, js, m, q.Subjects(), p.Report)
	if err != nil {
		return c.Explain(err, nc)
	}
	q.At = m.Time
	if m.IsNow() {
		q.At = s.Now()
	}
	q.Fleet = func() (*fleet.View, error) {
		return asof.At(ctx, js, m.Moment, asof.Options{AsHappened: m.AsHappened, Progress: p.Report})
	}
	e, err := explain.Answer(x.Events, q, x.Options)
	p.End()
	if err != nil {
		when := ""
		if !m.IsNow() {
			when = fmt.Sprintf(" at sequence %d", x.Options.AsOf)
		}
		switch {
		case errors.Is(err, explain.ErrUnknownDevice):
			err = query.UnknownDevice(ctx, s, js, fmt.Errorf("%w%s", err, when), q.Device, query.HintsByRef("explain", m))
		case errors.Is(err, explain.ErrUnknownDeployment):
			err = query.UnknownDeployment(ctx, s, js, fmt.Errorf("%w%s", err, when), q.Deployment.Namespace, q.Deployment.Name, query.HintsByRef("explain device/"+q.Device, m))
		case errors.Is(err, explain.ErrAmbiguous):
			return cli.Failed(err, "-n with one of them")
		}
		return c.Explain(err, nc)
	}
	if ok, err := render.Document(s, f.output, e); ok {
		return err
	}
	render.Explanation(s, e)
	return nil
}

// statesHelp lists the states, wrapped as the help around it.
func statesHelp() string {
	var words []string
	for _, s := range explain.States() {
		words = append(words, string(s))
	}
	return "\n" + strings.Join(render.Wrap(strings.Join(words, ", "), render.TextWidth), "\n")
}
