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
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
)

// historyFlags are the flags of history.
type historyFlags struct {
	momentFlags
	namespace string
	revision  uint64
	output    string
}

func newHistory(s cli.Streams, c *query.Connection) *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history deployment/NAME | device/NAME",
		Short: "Show what happened to a Deployment or a device, and what came of it",
		Long: `Show what happened to a Deployment or a device, and what came of it.

Of a Deployment: each change of its spec, with who asked for it, what differs from
the one before, how the rollout went, batch by batch, and how its devices fared by
the time of the next change; who else did something to it. A person's name comes from the API
server, where its admission policy is installed; a field manager's is the client's
own word, and marked. Nothing but the API server's audit log knows who deleted:
see docs/audit.md.

Of a device: registered, relabelled, online and offline, what it was assigned and
what it made of that, its agent's steps, commands, access. What is said again and
again is told once, with how often.

A number behind # is the event's sequence in the log. Only that part of the log is
read which is about the one asked for.

` + momentHelp,
		Example: `  fleetctl history deployment/hello
  fleetctl history fleetdep hello -n shop --revision 3
  fleetctl history device/edge-01 --at -1h
  fleetctl history device/edge-01 --as-happened -o json | jq '.entries[].text'`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return showHistory(cmd.Context(), s, c, f, args)
		},
		ValidArgsFunction: completion{c}.refs,
	}
	f.bind(cmd, c)
	flags := cmd.Flags()
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "the Deployment's namespace")
	flags.Uint64Var(&f.revision, "revision", 0, "of a Deployment: this revision alone")
	flags.StringVarP(&f.output, "output", "o", render.OutputText, "text, json or yaml")
	complete.Flag(cmd, "output", complete.Words([]string{render.OutputText, render.OutputJSON, render.OutputYAML}))
	complete.Flag(cmd, "namespace", completion{c}.namespace)
	return cmd
}

func showHistory(ctx context.Context, s cli.Streams, c *query.Connection, f historyFlags, args []string) error {
	things, err := resource.ParseRefs(args)
	usage := s.Program() + " history deployment/NAME, or " + s.Program() + " history --help"
	switch {
	case err != nil:
		return cli.Misused(err, usage)
	case len(things) != 1 || !things[0].IsDevice() && !things[0].IsDeployment():
		return cli.Misused(errors.New("history takes one Deployment or one device"), usage)
	case f.revision > 0 && things[0].IsDevice():
		return cli.Misused(errors.New("--revision is only for a Deployment"), s.Program()+" history device/"+things[0].Name)
	}
	if err := eventlog.CheckName("namespace", f.namespace); err != nil {
		return cli.Misused(err, "-n default")
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

	t, key := things[0], fleet.Key{Namespace: f.namespace, Name: things[0].Name}
	subjects := timeline.DeviceSubjects(t.Name)
	if t.IsDeployment() {
		subjects = timeline.DeploymentSubjects(key)
	}
	p := render.NewProgress(s, "reading the log")
	x, err := query.ReadExcerpt(ctx, js, m, subjects, p.Report)
	var h *timeline.History
	switch {
	case err != nil:
	case t.IsDevice():
		h, err = timeline.OfDevice(x.Events, t.Name, x.Options)
	default:
		h, err = timeline.OfDeployment(x.Events, key, x.Options)
	}
	p.End()
	if err != nil {
		return c.Explain(err, nc)
	}
	if len(h.Entries) == 0 {
		when := ""
		if !m.IsNow() {
			when = fmt.Sprintf(" at sequence %d", x.Options.AsOf)
		}
		if t.IsDevice() {
			err = query.UnknownDevice(ctx, s, js, fmt.Errorf("the log knows no device %q%s", t.Name, when), t.Name, query.HintsByRef("history", m))
		} else {
			err = query.UnknownDeployment(ctx, s, js, fmt.Errorf("the log knows no Deployment %s%s", key, when), key.Namespace, key.Name, query.HintsByRef("history", m))
		}
		return c.Explain(err, nc)
	}
	if f.revision > 0 {
		if h.Entries = onlyRevision(h.Entries, f.revision); len(h.Entries) == 0 {
			return cli.Failed(fmt.Errorf("%s has no revision %d", key, f.revision), s.Program()+" history deployment/"+t.Name+" -n "+f.namespace)
		}
	}
	if ok, err := render.Document(s, f.output, h); ok {
		return err
	}
	if t.IsDevice() {
		render.DeviceHistory(s, h)
	} else {
		render.DeploymentHistory(s, h)
	}
	return nil
}

func onlyRevision(all []timeline.Entry, revision uint64) []timeline.Entry {
	var out []timeline.Entry
	for _, e := range all {
		if e.Revision == revision && (e.Type == eventlog.DeploymentApplied || strings.HasPrefix(string(e.Type), "rollout.")) {
			out = append(out, e)
		}
	}
	return out
}
