package fleetctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/phrase"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

func newWithdraw(s cli.Streams, c *query.Connection) *cobra.Command {
	var namespace, reason string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "withdraw deployment/NAME",
		Short: "End an orphaned Deployment: take it off its devices",
		Long: `End an orphaned Deployment: take it off its devices.

A Deployment whose custom resource is simply gone (a lost cluster, a finalizer
forced off) is orphaned: its devices are left as they are, until the resource is
applied again, which adopts it, or a person withdraws it. One whose resource is
there ends by kubectl delete.`,
		Example: "  fleetctl withdraw deployment/hello -n default --reason 'replaced by web'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, ok := strings.Cut(args[0], "/")
			if !ok || (kind != "deployment" && kind != "fleetdep" && kind != "deployments") {
				return cli.Misused(fmt.Errorf("%q is not of the form deployment/NAME", args[0]), s.Program()+" withdraw deployment/hello")
			}
			return withdraw(cmd.Context(), s, c, fleet.Key{Namespace: namespace, Name: name}, reason, timeout)
		},
		ValidArgsFunction: completion{c}.deployment,
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "default", "the Deployment's namespace")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the log")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for the operator")
	return cmd
}

func withdraw(ctx context.Context, s cli.Streams, c *query.Connection, key fleet.Key, reason string, timeout time.Duration) error {
	for what, name := range map[string]string{"namespace": key.Namespace, "deployment": key.Name} {
		if err := eventlog.CheckName(what, name); err != nil {
			return cli.Misused(err, s.Program()+" withdraw --help")
		}
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := eventlog.CheckName("user", c.User); err != nil {
		return cli.Misused(fmt.Errorf("a request needs a user: %w", err), "--user")
	}
	devices, err := orphan(ctx, js, key)
	if err != nil {
		return c.Explain(err, nc)
	}
	seq, err := c.Append(ctx, s, js, eventlog.RequestSubject(c.User, key.Namespace, key.Name), eventlog.RequestMade,
		eventlog.Request{Verb: eventlog.RequestWithdraw, Reason: reason})
	if err != nil {
		return c.Explain(err, nc)
	}
	s.Tell("asked the operator to withdraw %s from %s (event %d)\n", key, cmp.Or(phrase.Count(devices, "device", "devices"), "no device"), seq)
	asks := openRequest{
		do: "withdraw " + key.String(), sequence: seq, answeredOn: []string{eventlog.DeploymentSubject(key.Namespace, key.Name)}, timeout: timeout,
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done, err := asks.await(ctx, bounded, s, js, func(e eventlog.Event) (bool, error) {
		if e.Type == eventlog.DeploymentAdopted {
			return false, cli.Failed(fmt.Errorf("%s was adopted meanwhile: its custom resource is there again", key), fmt.Sprintf("kubectl delete fleetdep %s -n %s", key.Name, key.Namespace))
		}
		return e.Type == eventlog.DeploymentDeleted, nil
	})
	if err != nil {
		return c.Explain(err, nc)
	}
	s.Tell("%s is withdrawn (event %d); devices that are offline follow when they return\n", key, done)
	return nil
}

// orphan folds one Deployment's part of the log: how many devices hold it, or
// why it cannot be withdrawn.
func orphan(ctx context.Context, js jetstream.JetStream, key fleet.Key) (devices int, err error) {
	view := fleet.New()
	for e, err := range reader.Read(ctx, js, reader.Options{Subjects: []string{
		eventlog.DeploymentSubject(key.Namespace, key.Name), eventlog.DesiredSubject(eventlog.Wildcard, key.Name),
	}}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return 0, err
		}
		fleet.Apply(view, e, err)
	}
	d := view.Deployments[key]
	switch {
	case d == nil:
		return 0, cli.Failed(fmt.Errorf("the log knows no Deployment %s", key), "-n with its namespace; all that there were: fleetctl log --type deployment -o text")
	case d.Lifecycle == fleet.Deleted:
		return 0, cli.Failed(fmt.Errorf("%s has already ended", key), fmt.Sprintf("when and by whom: fleetctl history deployment/%s -n %s", key.Name, key.Namespace))
	case d.Lifecycle != fleet.Orphaned:
		return 0, cli.Failed(fmt.Errorf("%s is not orphaned: its custom resource exists", key), fmt.Sprintf("kubectl delete fleetdep %s -n %s", key.Name, key.Namespace))
	}
	for range d.Assigned {
		devices++
	}
	return devices, nil
}
