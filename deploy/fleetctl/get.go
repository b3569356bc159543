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

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// getFlags are what a person may say of get.
type getFlags struct {
	momentFlags
	namespace     string
	allNamespaces bool
	selector      string
	watch         bool
	output        string
}

func newGet(s Streams, c *connection) *cobra.Command {
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
		ValidArgsFunction: c.completeTarget(&f),
	}
	f.bind(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "the Deployments' namespace")
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "Deployments of every namespace")
	flags.StringVarP(&f.selector, "selector", "l", "", "only devices whose labels match, such as site=lab,gpu")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on with what changes, until Ctrl-C")
	flags.StringVarP(&f.output, "output", "o", "", "table, wide, json, yaml or name (default table)")
	completeFlag(cmd, "output", fixed(outputs()))
	completeFlag(cmd, "namespace", c.completeNamespace)
	return cmd
}

// query is what get looks for.
type query struct {
	targets   []target
	namespace string // empty: all
	selector  labels.Selector
}

func (f getFlags) query(s Streams, args []string) (query, error) {
	var q query
	var err error
	if q.targets, err = parseTargets(args); err != nil {
		return q, misused(err, display(s.Name)+" get deployments, or "+display(s.Name)+" get --help")
	}
	if !f.allNamespaces {
		q.namespace = f.namespace
		if err := eventlog.CheckName("namespace", f.namespace); err != nil {
			return q, misused(err, "-n default, or -A for all")
		}
	}
	if f.selector == "" {
		return q, nil
	}
	if q.selector, err = labels.Parse(f.selector); err != nil {
		return q, misused(fmt.Errorf("-l %q: %w", f.selector, err), "-l site=lab")
	}
	for _, t := range q.targets {
		if t.resource.namespaced {
			return q, misused(fmt.Errorf("-l selects devices: the log holds no labels of %s", t.resource.plural),
				"the labels on the custom resources: kubectl get fleetdep -l "+f.selector)
		}
		if len(t.names) > 0 {
			return q, misused(errors.New("either names or -l, not both"), display(s.Name)+" get devices -l "+f.selector)
		}
	}
	return q, nil
}

func get(ctx context.Context, s Streams, c *connection, f getFlags, args []string) error {
	q, err := f.query(s, args)
	if err != nil {
		return err
	}
	m, err := f.parse(s)
	if err != nil {
		return err
	}
	show, err := newShow(s, q, f.output, f.watch)
	if err != nil {
		return misused(err, "-o wide")
	}
	if f.watch && f.asHappened {
		return misused(errors.New("-w follows the log, in its own order: --as-happened has another"), "one of the two")
	}
	if f.watch {
		defer s.follow()()
	}
	nc, js, err := c.openTo(s, f.watch)
	if err != nil {
		return err
	}
	defer nc.Close()
	if m, err = c.timed(ctx, nc, js, m); err != nil {
		return err
	}
	v, err := c.view(ctx, s, nc, js, m)
	if err != nil {
		return err
	}
	cat := newCatalog(v, m.clock(s, v))
	if !m.IsNow() && s.ErrTerminal && show.forPeople() {
		s.warn("At sequence %d of the log, %s:\n", v.Sequence, v.Recorded.Local().Format(clockForm))
	}
	found, missing := q.find(s, cat, !m.IsNow())
	if err := show.all(found, v.Sequence); err != nil {
		return err
	}
	if len(found) == 0 && missing == nil && show.forPeople() {
		s.warn("%s\n", q.nothing())
	}
	if missing != nil || !f.watch {
		return missing
	}
	return watch(ctx, c, nc, js, q, cat, show, found)
}

// find gives what is looked for, in the order of the targets, and an error about
// what is not there.
func (q query) find(s Streams, c *catalog, past bool) ([]item, error) {
	var found []item
	var missing []error
	for _, t := range q.targets {
		for _, key := range t.resource.keys(c) {
			if q.wants(c, t, key) {
				found = append(found, t.resource.of(c, key))
			}
		}
		for _, name := range t.names {
			if !slices.ContainsFunc(found, func(i item) bool { return i.resource.plural == t.resource.plural && i.key.Name == name }) {
				missing = append(missing, q.missing(s, c, t, name, past))
			}
		}
	}
	if len(missing) > 0 {
		var first *failure
		try := ""
		if errors.As(missing[0], &first) {
			try = first.try
		}
		return found, failed(errors.Join(missing...), try)
	}
	return found, nil
}

// wants says whether something that is there is looked for by a target.
func (q query) wants(c *catalog, t target, key fleet.Key) bool {
	if len(t.names) > 0 && !slices.Contains(t.names, key.Name) {
		return false
	}
	if t.resource.namespaced {
		return q.namespace == "" || q.namespace == key.Namespace
	}
	return q.selector == nil || c.labelsMatch(key.Name, func(m map[string]string) bool { return q.selector.Matches(labels.Set(m)) })
}

// missing says what is not there, and what to try.
func (q query) missing(s Streams, c *catalog, t target, name string, past bool) error {
	r, get := t.resource, display(s.Name)+" get "+t.resource.singular+" "+name
	where := ""
	if r.namespaced && q.namespace != "" {
		where = fmt.Sprintf(" in namespace %q", q.namespace)
	}
	if past {
		where += fmt.Sprintf(" at sequence %d of the log", c.view.Sequence)
	}
	err := fmt.Errorf("%s %q not found%s", r.plural, name, where)
	var names []string
	for _, key := range r.keys(c) {
		if q.namespace == "" || !r.namespaced || key.Namespace == q.namespace {
			names = append(names, key.Name)
		}
	}
	meant := ""
	if near := closest(name, slices.Compact(slices.Sorted(slices.Values(names)))); len(near) > 0 {
		meant = strings.Join(near, ", or ") + "? Or see "
	}
	if !r.namespaced {
		return failed(err, meant+"what there is: "+display(s.Name)+" get "+r.plural)
	}
	// Where it was looked for comes first.
	keys := append([]fleet.Key{{Namespace: q.namespace, Name: name}}, sorted(slices.Collect(maps.Keys(c.view.Deployments)))...)
	for _, key := range keys {
		d := c.view.Deployments[key]
		if key.Name != name || d == nil {
			continue
		}
		switch {
		case key.Namespace == cmp.Or(q.namespace, key.Namespace) && d.Lifecycle == fleet.Deleted:
			return failed(fmt.Errorf("%w: %s ended at %s (event %d)", err, key, d.Changed.At.Local().Format(clockForm), d.Changed.Sequence),
				fmt.Sprintf("as it was before: %s -n %s --at %d", get, key.Namespace, d.Changed.Sequence-1))
		case key.Namespace != q.namespace && d.Lifecycle != "" && d.Lifecycle != fleet.Deleted:
			return failed(fmt.Errorf("%w: there is one in namespace %q", err, key.Namespace), get+" -n "+key.Namespace)
		}
	}
	return failed(err, meant+"what there is: "+display(s.Name)+" get "+r.plural+" -A")
}

// nothing is what kubectl says when there is nothing.
func (q query) nothing() string {
	for _, t := range q.targets {
		if !t.resource.namespaced || q.namespace == "" {
			return "No resources found"
		}
	}
	return fmt.Sprintf("No resources found in %s namespace.", q.namespace)
}

func sorted(keys []fleet.Key) []fleet.Key {
	slices.SortFunc(keys, func(a, b fleet.Key) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return keys
}
