package fleetctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
)

// historyFlags are what a person may say of a history.
type historyFlags struct {
	momentFlags
	namespace string
	revision  uint64
	output    string
}

func newHistory(s Streams, c *connection) *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history deployment/NAME | device/NAME",
		Short: "Show what happened to a Deployment or a device, and what came of it",
		Long: `Show what happened to a Deployment or a device, and what came of it.

Of a Deployment: each change of its spec, with who asked for it, what differs from
the one before, how the rollout went, and how its devices fared by the time of the
next change; who else did something to it. A person's name comes from the API
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
		ValidArgsFunction: c.completeThings,
	}
	f.bind(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "the Deployment's namespace")
	flags.Uint64Var(&f.revision, "revision", 0, "of a Deployment: this revision alone")
	flags.StringVarP(&f.output, "output", "o", outputText, "text, json or yaml")
	completeFlag(cmd, "output", fixed([]string{outputText, outputJSON, outputYAML}))
	completeFlag(cmd, "namespace", c.completeNamespace)
	return cmd
}

func showHistory(ctx context.Context, s Streams, c *connection, f historyFlags, args []string) error {
	things, err := parseThings(args)
	usage := display(s.Name) + " history deployment/NAME, or " + display(s.Name) + " history --help"
	switch {
	case err != nil:
		return misused(err, usage)
	case len(things) != 1 || !things[0].isDevice() && !things[0].isDeployment():
		return misused(errors.New("one Deployment or one device has a history"), usage)
	case f.revision > 0 && things[0].isDevice():
		return misused(errors.New("--revision is of a Deployment"), display(s.Name)+" history device/"+things[0].name)
	}
	if err := eventlog.CheckName("namespace", f.namespace); err != nil {
		return misused(err, "-n default")
	}
	if err := checkOutput(f.output); err != nil {
		return err
	}
	m, err := f.parse(s)
	if err != nil {
		return err
	}
	nc, js, err := c.open()
	if err != nil {
		return err
	}
	defer nc.Close()

	t, key := things[0], fleet.Key{Namespace: f.namespace, Name: things[0].name}
	subjects := timeline.DeviceSubjects(t.name)
	if t.isDeployment() {
		subjects = timeline.DeploymentSubjects(key)
	}
	p, err := c.part(ctx, s, js, m, subjects)
	if err != nil {
		return c.explain(err, nc)
	}
	h, err := func() (*timeline.History, error) {
		defer p.progress.end()
		if t.isDevice() {
			return timeline.OfDevice(p.events, t.name, p.options)
		}
		return timeline.OfDeployment(p.events, key, p.options)
	}()
	if err != nil {
		return c.explain(err, nc)
	}
	if len(h.Entries) == 0 {
		when := ""
		if !m.IsNow() {
			when = fmt.Sprintf(" at sequence %d", p.options.Upto)
		}
		if t.isDevice() {
			err = unknownDevice(ctx, s, js, fmt.Errorf("the log knows no device %q%s", t.name, when), t.name, named("history", m))
		} else {
			err = unknownDeployment(ctx, s, js, fmt.Errorf("the log knows no Deployment %s%s", key, when), key.Namespace, key.Name, named("history", m))
		}
		return c.explain(err, nc)
	}
	if f.revision > 0 {
		if h.Entries = onlyRevision(h.Entries, f.revision); len(h.Entries) == 0 {
			return failed(fmt.Errorf("%s has no revision %d", key, f.revision), display(s.Name)+" history deployment/"+t.name+" -n "+f.namespace)
		}
	}
	if ok, err := document(s, f.output, h); ok {
		return err
	}
	if t.isDevice() {
		page{s}.device(h)
	} else {
		page{s}.deployment(h)
	}
	return nil
}

func onlyRevision(all []timeline.Entry, revision uint64) []timeline.Entry {
	var out []timeline.Entry
	for _, e := range all {
		if e.Revision == revision && e.Type == eventlog.DeploymentApplied {
			out = append(out, e)
		}
	}
	return out
}
