// Package rollouts has the commands of fleetctl rollout: how a Deployment's rollout
// stands, what one would do, and what a person can ask of it.
package rollouts

import (
	"cmp"
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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

// env is what all commands of the package run in.
type env struct {
	s          cli.Streams
	c          *query.Connection
	completion Completion
}

// New gives the command rollout.
func New(s cli.Streams, c *query.Connection, completion Completion) *cobra.Command {
	e := env{s, c, completion}
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Watch, plan, stop, undo and repeat the rollout of a Deployment",
		Long: `Watch, plan, stop, undo and repeat the rollout of a Deployment.

status, plan and history read the event log. The others ask the operator, in your own
name, and tell what it answered: it refuses what no longer fits, such as the approval of
a batch that is not the open one any more. docs/rollouts.md has the words, the states,
and what to do at 3 a.m.

  pause         hold: no device is given anything until resume; a new manifest does not
                end it
  resume        end a hold, or go on after a pause of the operator's own; devices that
                failed get another deadline
  promote       let the run go on after the open batch, whatever its devices say
  abort         end the run; each device keeps what it has
  undo          go back to what ran before; what the manifest says is refused until it
                changes
  retry         try again what was refused
  retry-failed  as resume: the failed devices get another deadline
  restart       make the containers of what is out again, in batches

Exit codes: 0 done, 1 the operator refused it (the message says why), 2 the command line
was wrong, 5 no operator answered in time: the request stays in the log.
status -w: 0 Completed, 6 paused or held, 7 rolled back, 8 aborted, 9 it goes on at
--timeout.`,
	}
	cmd.AddCommand(e.newStatus(), e.newPlan(), e.newHistory())
	for _, v := range verbs() {
		cmd.AddCommand(e.newVerb(v))
	}
	for _, sub := range cmd.Commands() {
		complete.NoFiles(sub)
	}
	return cmd
}

// about is which Deployment a command is about, and how it answers.
type about struct {
	namespace, output string
	key               fleet.Key
	asJSON            bool
}

// argsHelp is how all commands name their Deployment.
const argsHelp = "deployment/NAME"

func (e env) bind(cmd *cobra.Command, a *about) {
	cmd.Flags().StringVarP(&a.namespace, "namespace", "n", "default", "the Deployment's namespace")
	complete.Flag(cmd, "namespace", e.completion.Namespace)
	complete.BindPipedOutput(cmd, &a.output)
	cmd.ValidArgsFunction = e.completion.Deployment
}

// read reads the arguments and checks the flags.
func (a *about) read(s cli.Streams, command string, args []string) error {
	try := s.Program() + " rollout " + command + " deployment/web -n " + cmp.Or(a.namespace, "default")
	name, err := resource.DeploymentArg(args)
	if err != nil {
		return cli.Misused(err, try)
	}
	if err := eventlog.CheckName("namespace", a.namespace); err != nil {
		return cli.Misused(err, "-n default")
	}
	a.key = fleet.Key{Namespace: a.namespace, Name: name}
	a.asJSON, err = complete.PipedAsJSON(s, a.output)
	return err
}

// oneDeployment takes NAME, deployment/NAME or deployment NAME.
func oneDeployment(cmd *cobra.Command, args []string) error { return cobra.RangeArgs(1, 2)(cmd, args) }

// view folds the log up to a moment. Where that takes long, a terminal shows how far it
// is.
func (e env) view(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, m query.Moment) (*fleet.View, error) {
	p := render.NewProgress(e.s, "folding the log")
	defer p.End()
	return e.c.View(ctx, nc, js, m, p.Report)
}

// unknown is the error about a Deployment that the log does not know.
func (e env) unknown(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, key fleet.Key, command string, m query.Moment) error {
	when := ""
	if !m.IsNow() {
		when = " at that moment"
	}
	err := query.UnknownDeployment(ctx, e.s, js, fmt.Errorf("the log knows no Deployment %s%s", key, when), key.Namespace, key.Name, query.HintsByRef("rollout "+command, m))
	return e.c.Explain(err, nc)
}

// document is how an answer for programs is written: indented where it is the only one.
func document(s cli.Streams, v any) error {
	_, err := render.Document(s, render.OutputJSON, v)
	return err
}
