// Package checkup has the commands that say what is wrong with a fleet: doctor looks at
// the servers, top at what needs a person.
package checkup

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/doctor"
	"fleet.nationtech.io/deploy/doctor/examine"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/installing"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/projections/fleet"
)

// NewDoctor makes the command doctor.
func NewDoctor(s cli.Streams, c *query.Connection) *cobra.Command {
	var output string
	var k installing.Cluster
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with a fleet's servers, and say what to do",
		Long: `Look for what is wrong with a fleet's servers, and say what to do. Nothing is changed.

A line for each check: ok, warning (it works, and not for long, or not as it could), failed,
or left out, with the reason, where it cannot be looked at from here or by this user.

  connection   the servers answer, and soon; days left of their certificate
  account      who you are, and whether the servers have accounts at all
  log          it is there, led, configured as it should be, in enough replicas
  disk         how full the log is, and when it is full at the rate of the last day
  storage      how full the other streams, the account and the servers are; whether the
               servers sync each message to their disks
  buckets      each is in service, and has what the log has
  operator     one has led, one answers, and it has folded the log
  pulses       devices are heard, and the operator hears them
  clocks       this machine's, the servers', the operator's and the devices'
  versions     fleetctl, operator, agents and images fit together
  keys         your token has not ended; days left of the devices' keys
  seals        the log is sealed, up to a short time ago
  checkpoints  saved views are near enough to the end
  kubernetes   CRDs, workloads, the operator's Lease, certificates

Kubernetes is asked where --kubeconfig, --kube-context or $KUBECONFIG name a cluster. Each
NATS server is asked there for its clock and its storage, by a port-forward to its pod. Where
the servers do not run in Kubernetes, a user of their own account (SYS) asks them.

Exit codes: 0 nothing failed, 1 something did, 2 the command line was wrong.`,
		Example: `  fleetctl doctor
  fleetctl doctor --kubeconfig ~/.kube/config -n fleet-system
  fleetctl doctor -o json | jq '.findings[] | select(.status == "failed")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return examineFleet(cmd.Context(), s, c, &k, output) },
	}
	complete.BindOutput(cmd, &output)
	k.Bind(cmd)
	return cmd
}

// answer is what doctor tells programs.
type answer struct {
	Healthy  bool             `json:"healthy"` // nothing failed
	Findings []doctor.Finding `json:"findings"`
}

func examineFleet(ctx context.Context, s cli.Streams, c *query.Connection, k *installing.Cluster, output string) error {
	if err := complete.CheckTextOrJSON(output); err != nil {
		return err
	}
	facts, err := gather(ctx, s, c)
	if err != nil {
		return err
	}
	if why := kubernetes(ctx, s, k, &facts); why != "" && facts.LeftOut != nil {
		facts.LeftOut[doctor.CheckKubernetes] = why
	}
	if ctx.Err() != nil {
		return cli.Interrupted("")
	}
	a := answer{Findings: doctor.Examine(facts)}
	a.Healthy = doctor.Healthy(a.Findings)
	if ok, err := render.Document(s, output, a); err != nil {
		return err
	} else if !ok {
		tell(s, a.Findings)
	}
	if !a.Healthy {
		return cli.ExitCode(cli.ExitFailed)
	}
	return nil
}

// gather looks at the servers.
func gather(ctx context.Context, s cli.Streams, c *query.Connection) (doctor.Facts, error) {
	nc, js, err := c.Open()
	if cli.Misuse(err) {
		return doctor.Facts{}, err
	}
	if err != nil {
		t := &doctor.Trouble{Message: err.Error(), Remedy: "look whether the servers run, and at --url"}
		var f *cli.Failure
		if errors.As(err, &f) && f.Remedy() != "" {
			t.Remedy = f.Remedy()
		}
		return doctor.Facts{At: s.Now(), Unreachable: t}, nil
	}
	defer nc.Close()
	ends := time.Time{}
	if c.Self.Expires > 0 {
		ends = s.Now().Add(c.Self.Expires)
	}
	reading, stop := c.Permitted(ctx)
	defer stop()
	look := examine.Servers{
		Conn: nc, JS: js, User: c.User, Account: c.Self.Account, TokenEnds: ends, Now: s.Now,
		View: func(ctx context.Context) (*fleet.View, error) { return viewAt(ctx, s, c, nc, js, query.Moment{}) },
	}
	facts, err := look.Look(reading)
	if err != nil && ctx.Err() != nil {
		return facts, cli.Interrupted("")
	}
	return facts, nil // what the servers refuse to this user is left out
}

// viewAt folds the log up to a moment.
func viewAt(ctx context.Context, s cli.Streams, c *query.Connection, nc *nats.Conn, js jetstream.JetStream, m query.Moment) (*fleet.View, error) {
	p := render.NewProgress(s, "folding the log")
	defer p.End()
	return c.View(ctx, nc, js, m, p.Report)
}

// kubernetes looks at the cluster, or says why not.
func kubernetes(ctx context.Context, s cli.Streams, k *installing.Cluster, facts *doctor.Facts) (why string) {
	if !k.Chosen() && s.Getenv("KUBECONFIG") == "" {
		return "no cluster is named: --kubeconfig, --kube-context or $KUBECONFIG"
	}
	config, name, err := k.Config()
	if err != nil && k.Chosen() { // a cluster that a person named is one to look at
		facts.Kubernetes = &doctor.Kubernetes{Trouble: &doctor.Trouble{Message: err.Error(), Remedy: "name a cluster that is there: --kubeconfig, --kube-context; kubectl config get-contexts"}}
		return ""
	}
	if err != nil {
		return err.Error()
	}
	var ahead time.Duration
	if n := facts.Server; n != nil {
		ahead = n.Ahead
	}
	facts.Kubernetes = examine.Kubernetes(ctx, config, name, k.Namespace(), s.Now, ahead)
	return ""
}

// ANSI colours.
const (
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	dim    = "\x1b[2m"
	plain  = "\x1b[0m"
)

var colors = map[doctor.Status]string{doctor.OK: green, doctor.Warning: yellow, doctor.Failed: red, doctor.LeftOut: dim}

func tell(s cli.Streams, all []doctor.Finding) {
	width := 0
	for _, name := range doctor.Checks() {
		width = max(width, len(name))
	}
	for _, f := range all {
		status := string(f.Status) + strings.Repeat(" ", len(doctor.LeftOut)-len(f.Status))
		if s.Color {
			status = colors[f.Status] + status + plain
		}
		line := status + "  " + f.Check + strings.Repeat(" ", max(0, width-len(f.Check))) + "  " + render.Printable(f.Message)
		if f.Remedy != "" {
			line += ". Try: " + f.Remedy
		}
		s.Tell("%s\n", line)
	}
}
