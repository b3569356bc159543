package checkup

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/attention/present"
)

// topFlags are those of top.
type topFlags struct {
	at, output string
	once       bool
}

// NewTop makes the command top. moments completes a flag that takes a moment.
func NewTop(s cli.Streams, c *query.Connection, moments func(cmd *cobra.Command, flag string)) *cobra.Command {
	var f topFlags
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what in the fleet needs a person, why, and the command that helps",
		Long: `Show what in the fleet needs a person, why, and the command that helps: rollouts that
stall, failed or wait for somebody; devices that fail, or are away for longer than they
used to be; two machines of one name; devices that flood the log; Deployments whose
resource is gone; a name that two Deployments have; buckets that stall, an operator that
is behind or does not answer (as an operator or admin), a log that fills up, keys that end.
The heaviest come first.

critical says that the fleet cannot do its work or that a rollout broke devices, warning
that something is broken and will not mend itself, notice that something waits for a
person. What is wrong with more than 10 devices in the same way is one entry.

A device is missed once it is away for longer than 10 minutes, and for longer than it ever
was in the last 30 days before it came back.

On a terminal the list is live: ↑ and ↓ scroll, q ends it. Elsewhere, with --once, -o or
--at it is written once. With --at what is known of the present alone is left out: how
full the log is, buckets, whether an operator is behind, and for how long each device is
used to be away: of the past, it is missed after 10 minutes.`,
		Example: `  fleetctl top
  fleetctl top --once
  fleetctl top --at 03:00
  fleetctl top -o json | jq -r '.items[] | select(.severity == "critical") | .title'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return top(cmd.Context(), s, c, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "the list of a moment: a sequence (1234), a time (14:03, RFC 3339) or how long ago (-15m)")
	flags.BoolVar(&f.once, "once", false, "write the list once, also on a terminal")
	complete.BindPipedOutput(cmd, &f.output)
	moments(cmd, "at")
	return cmd
}

func top(ctx context.Context, s cli.Streams, c *query.Connection, f topFlags) error {
	asJSON, err := complete.PipedAsJSON(s, f.output)
	if err != nil {
		return err
	}
	at, err := query.ParseMoment(s, "--at", f.at)
	if err != nil {
		return err
	}
	var screen *os.File
	if f.output == "" && !f.once && f.at == "" {
		screen = terminalOf(s)
	}
	if screen != nil {
		return watchFleet(ctx, s, c, screen)
	}
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	reading, stop := c.Permitted(ctx)
	defer stop()
	v, err := viewAt(reading, s, c, nc, js, query.Moment{Moment: at})
	if err != nil {
		return err
	}
	page := page{Sequence: v.Sequence, Time: query.Moment{Moment: at}.Clock(s, v)}
	var facts attention.Facts
	if at.IsNow() {
		var ahead time.Duration
		if facts, ahead, err = factsOf(reading, c, js, s.Now); err != nil {
			return c.Explain(err, nc)
		}
		page.Time = s.Now().Add(ahead)
	}
	page.look(v, facts)
	if asJSON {
		_, err := render.Document(s, render.OutputJSON, page)
		return err
	}
	for _, line := range page.text(s.Color, render.TextWidth, true) {
		s.Tell("%s\n", line)
	}
	return nil
}

// terminalOf is the terminal to draw on; nil where the list is to be written once.
func terminalOf(s cli.Streams) *os.File {
	out, ok := s.Out.(*os.File)
	if !s.Terminal || !ok || !term.IsTerminal(int(out.Fd())) || s.Getenv("TERM") == "dumb" {
		return nil
	}
	return out
}

// factsOf is what the servers tell of the present, the devices' habits, and how far the
// servers' clock is ahead of this machine's.
func factsOf(ctx context.Context, c *query.Connection, js jetstream.JetStream, now func() time.Time) (attention.Facts, time.Duration, error) {
	facts, ahead, err := presentOf(ctx, c, js, now)
	if err == nil {
		facts.Habits, err = present.Habits(ctx, js, now().Add(ahead))
	}
	return facts, ahead, err
}

// presentOf is what the servers tell of the present, and how far an operator has folded the log
// where the user may ask one and it answers.
func presentOf(ctx context.Context, c *query.Connection, js jetstream.JetStream, now func() time.Time) (attention.Facts, time.Duration, error) {
	facts, ahead, err := present.Look(ctx, js, now)
	if err == nil && c.Self.May(present.FoldSubject()) {
		fold, why := present.Fold(ctx, js) // the doctor tells of another reason
		facts.Fold, facts.NoOperator = fold, errors.Is(why, present.ErrNoOperator)
	}
	return facts, ahead, err
}

// watchFleet shows the list on a terminal until a person ends it.
func watchFleet(ctx context.Context, s cli.Streams, c *query.Connection, screen *os.File) error {
	var heard outage // what is said of the connection is on the screen, and not across it
	quiet := s
	quiet.Err, quiet.ErrTerminal = &heard, true
	nc, js, err := c.OpenTo(quiet, true)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, stopReading := c.Permitted(ctx)
	defer stopReading()
	ctx, closed := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal was closed
	defer closed()
	looking, stop := context.WithCancel(ctx)
	defer stop()
	p := render.NewProgress(s, "folding the log")
	follower, last, err := asof.Follow(looking, js, asof.Options{Progress: p.Report})
	if err != nil {
		return c.Explain(err, nc)
	}
	folded := make(chan error, 1)
	go func() { folded <- follower.Run(looking); stop() }()
	l := lookout{now: s.Now, view: follower.Do, connected: nc.IsConnected, heard: heard.last, ask: func(ctx context.Context) (attention.Facts, time.Duration, error) {
		return presentOf(ctx, c, js, s.Now)
	}}
	l.facts, l.ahead, err = factsOf(looking, c, js, s.Now)
	if err == nil {
		err = follower.WaitFor(looking, last)
	}
	p.End()
	if err == nil {
		err = live{color: s.Color, out: screen, pages: l.pages}.run(looking)
	}
	stop()
	if failed := <-folded; failed != nil {
		err = failed // which ended all else
	} else if err == nil && query.Refused(nc) {
		err = context.Canceled
	}
	if err != nil {
		return c.Explain(err, nc)
	}
	return nil
}
