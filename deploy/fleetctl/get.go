package fleetctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/deploy/fleetctl/watch"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/spelling"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// getFlags are the flags of get.
type getFlags struct {
	momentFlags
	namespace     string
	allNamespaces bool
	selector      string
	watch         bool
	output        string
}

func newGet(s cli.Streams, c *query.Connection) *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:   "get KIND [NAME…] | KIND/NAME…",
		Short: "Show Deployments, devices and rollouts, as they are or as they were",
		Long: `Show Deployments, devices and rollouts, as they are or as they were.

Everything comes out of the event log: no Kubernetes is asked, so it works as well
where there is none any more. Objects have the shape of the custom resources, and
their status is what the operator says of the same facts. What only Kubernetes
knows is left out: when the condition Ready last turned, labels and annotations
of Deployments, managed fields.

A device's status lists, under onDevice (in a table under DEPLOYMENTS, -o wide),
each Deployment on it: Assigned; Withdrawn, but still reported; or Unknown, which
it reports though this log never assigned it: that is left alone.

` + momentHelp + ` AGE counts to that moment.

Kinds: deployments (deployment, deploy, fleetdep), devices (device, dev,
fleetdev), rollouts (rollout), and fleet for the first two. -w goes on with what
changes, from that moment on, and writes each thing at most once a second of the
log's time, as it is by then; what comes and goes is written at once. With -o json
each change is a line, as Kubernetes writes watch events.`,
		Example: `  fleetctl get deployments -A
  fleetctl get deployment hello -o yaml
  fleetctl get devices -l site=lab -o wide
  fleetctl get devices --at -15m
  fleetctl get deployment/hello device/edge-01 --at 1234 -o json
  fleetctl get rollouts -w`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return get(cmd.Context(), s, c, f, args)
		},
		ValidArgsFunction: completion{c}.target(&f),
	}
	f.bind(cmd, c)
	flags := cmd.Flags()
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "the Deployments' namespace")
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "Deployments of every namespace")
	flags.StringVarP(&f.selector, "selector", "l", "", "only devices whose labels match, such as site=lab,gpu")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on with what changes, until Ctrl-C")
	flags.StringVarP(&f.output, "output", "o", "", "table, wide, json, yaml or name (default table)")
	complete.Flag(cmd, "output", complete.Words(render.Outputs()))
	complete.Flag(cmd, "namespace", completion{c}.namespace)
	return cmd
}

func (f getFlags) query(s cli.Streams, args []string) (resource.Query, error) {
	var q resource.Query
	var err error
	if q.Targets, err = resource.ParseTargets(args); err != nil {
		return q, cli.Misused(err, s.Program()+" get deployments, or "+s.Program()+" get --help")
	}
	if !f.allNamespaces {
		q.Namespace = f.namespace
		if err := eventlog.CheckName("namespace", f.namespace); err != nil {
			return q, cli.Misused(err, "-n default, or -A for all")
		}
	}
	if f.selector == "" {
		return q, nil
	}
	if q.Selector, err = labels.Parse(f.selector); err != nil {
		return q, cli.Misused(fmt.Errorf("-l %q: %w", f.selector, err), "-l site=lab")
	}
	for _, t := range q.Targets {
		if t.Resource.Namespaced {
			return q, cli.Misused(fmt.Errorf("-l selects devices: the log holds no labels of %s", t.Resource.Plural),
				"the labels on the custom resources: kubectl get fleetdep -l "+f.selector)
		}
		if len(t.Names) > 0 {
			return q, cli.Misused(errors.New("names and -l exclude each other"), s.Program()+" get devices -l "+f.selector)
		}
	}
	return q, nil
}

func get(ctx context.Context, s cli.Streams, c *query.Connection, f getFlags, args []string) error {
	q, err := f.query(s, args)
	if err != nil {
		return err
	}
	m, err := f.parse(s)
	if err != nil {
		return err
	}
	show, err := render.NewObjects(s, q, f.output, f.watch)
	if err != nil {
		return cli.Misused(err, "-o wide")
	}
	if f.watch && f.asHappened {
		return cli.Misused(errors.New("-w and --as-happened exclude each other: -w follows log time"), "give one of the two")
	}
	if f.watch {
		defer s.Follow()()
	}
	nc, js, err := c.OpenTo(s, f.watch)
	if err != nil {
		return err
	}
	defer nc.Close()
	if m, err = c.WithTime(ctx, nc, js, m); err != nil {
		return err
	}
	v, err := viewAt(ctx, s, c, nc, js, m)
	if err != nil {
		return err
	}
	cat := resource.NewCatalog(v, m.Clock(s, v))
	if !m.IsNow() && s.ErrTerminal && show.ForPeople() {
		s.Warn("At sequence %d of the log, %s:\n", v.Sequence, v.Recorded.Local().Format(render.TimeLayout))
	}
	found, unknown := q.Find(cat)
	missing := notFound(s, q, cat, unknown, !m.IsNow())
	if err := show.WriteAll(found, v.Sequence); err != nil {
		return err
	}
	if len(found) == 0 && missing == nil && show.ForPeople() {
		s.Warn("%s\n", q.NothingFound())
	}
	if missing != nil || !f.watch {
		return missing
	}
	if err := watch.Run(ctx, js, q, cat, show, found); err != nil {
		return c.Explain(err, nc)
	}
	return nil
}

// notFound is the error about what is not there; nil where all is.
func notFound(s cli.Streams, q resource.Query, c *resource.Catalog, missing []resource.Ref, past bool) error {
	var errs []error
	first := ""
	for i, t := range missing {
		try, err := notFoundOne(s, q, c, t, past)
		errs = append(errs, err)
		if i == 0 {
			first = try
		}
	}
	if errs == nil {
		return nil
	}
	return cli.Failed(errors.Join(errs...), first)
}

// notFoundOne says what is not there, and what to try.
func notFoundOne(s cli.Streams, q resource.Query, c *resource.Catalog, t resource.Ref, past bool) (try string, err error) {
	r, name, get := t.Resource, t.Name, s.Program()+" get "+t.Resource.Singular+" "+t.Name
	where := ""
	if r.Namespaced && q.Namespace != "" {
		where = fmt.Sprintf(" in namespace %q", q.Namespace)
	}
	if past {
		where += fmt.Sprintf(" at sequence %d of the log", c.View.Sequence)
	}
	err = fmt.Errorf("%s %q not found%s", r.Plural, name, where)
	var names []string
	for _, key := range r.Keys(c) {
		if q.Namespace == "" || !r.Namespaced || key.Namespace == q.Namespace {
			names = append(names, key.Name)
		}
	}
	meant := ""
	if near := spelling.Closest(name, slices.Compact(slices.Sorted(slices.Values(names)))); len(near) > 0 {
		meant = strings.Join(near, ", or ") + "? Or see "
	}
	if !r.Namespaced {
		return meant + "what there is: " + s.Program() + " get " + r.Plural, err
	}
	// Where it was looked for comes first.
	keys := append([]fleet.Key{{Namespace: q.Namespace, Name: name}}, resource.SortKeys(slices.Collect(maps.Keys(c.View.Deployments)))...)
	for _, key := range keys {
		d := c.View.Deployments[key]
		if key.Name != name || d == nil {
			continue
		}
		switch {
		case key.Namespace == cmp.Or(q.Namespace, key.Namespace) && d.Lifecycle == fleet.Deleted:
			return fmt.Sprintf("as it was before: %s -n %s --at %d", get, key.Namespace, d.Changed.Sequence-1),
				fmt.Errorf("%w: %s ended at %s (event %d)", err, key, d.Changed.At.Local().Format(render.TimeLayout), d.Changed.Sequence)
		case key.Namespace != q.Namespace && d.Lifecycle != "" && d.Lifecycle != fleet.Deleted:
			return get + " -n " + key.Namespace, fmt.Errorf("%w: there is one in namespace %q", err, key.Namespace)
		}
	}
	return meant + "what there is: " + s.Program() + " get " + r.Plural + " -A", err
}
