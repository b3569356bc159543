package fleetctl

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// selectionFlags are the flags by which a person selects events.
type selectionFlags struct {
	device, deployment         string
	types                      []string
	actor, correlation, reason string
	trace                      string
}

func (f *selectionFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.device, "device", "", "only what is about this device")
	flags.StringVar(&f.deployment, "deployment", "", "only what is about this Deployment: NAMESPACE/NAME or NAME")
	flags.StringSliceVar(&f.types, "type", nil, "only these types, such as state.reported, or their first words, such as rollout")
	flags.StringVar(&f.actor, "actor", "", "only what this person or program did, as the log knows it")
	flags.StringVar(&f.correlation, "correlation", "", "only what belongs to one change: NAMESPACE/NAME@REVISION, or NAMESPACE/NAME for every change of it")
	flags.StringVar(&f.trace, "trace", "", "only the events that name this trace: its id of 32 hexadecimal digits, such as fleetctl trace prints")
	flags.StringVar(&f.reason, "reason", "", "only what has this reason, such as ImagePullFailed")
}

// selection checks what the flags say.
func (f selectionFlags) selection() (query.Selection, error) {
	s, err := query.NewSelection(f.device, f.deployment, f.types)
	s.Actor, s.Correlation, s.Reason = f.actor, f.correlation, f.reason
	if err != nil || f.trace == "" {
		return s, err
	}
	id, err := eventlog.ParseTraceID(f.trace)
	if err != nil {
		return s, fmt.Errorf("--trace: %w", err)
	}
	s.Trace = hex.EncodeToString(id[:])
	return s, nil
}

// defaultWait is how long a person waits for the operator.
const defaultWait = 10 * time.Second

// momentHelp is what the flags of a moment take, for the long help of commands
// that have them.
const momentHelp = `A moment is a sequence of the log (1234), a time (2026-11-24T14:03:00Z, or
"2026-11-24 14:03" in this machine's zone; 14:03 alone is the last 14:03), or how
long ago (-15m, -2h, -3d). --at counts by log time: it asks what the log had recorded
by then. With --as-happened it counts by event time: it asks what had happened by
then, so that a late report of a device that was offline counts from when it happened.`

// momentFlags are the flags by which a person names a moment of the past. Every
// command that reads the fleet has them.
type momentFlags struct {
	at         string
	asHappened bool
}

func (f *momentFlags) bind(cmd *cobra.Command, c *query.Connection) {
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "the fleet at a moment: a sequence (1234), a time (14:03, RFC 3339) or how long ago (-15m); default now")
	flags.BoolVar(&f.asHappened, "as-happened", false, "by event time (when it happened) instead of log time (when the log recorded it)")
	completeMoments(cmd, "at", c)
}

// parse reads the flags against the person's clock.
func (f momentFlags) parse(s cli.Streams) (query.Moment, error) {
	m, err := query.ParseMoment(s, "--at", f.at)
	return query.Moment{Moment: m, AsHappened: f.asHappened}, err
}

// viewAt folds the log up to a moment. Where that takes long, a terminal shows how far
// it is.
func viewAt(ctx context.Context, s cli.Streams, c *query.Connection, nc *nats.Conn, js jetstream.JetStream, m query.Moment) (*fleet.View, error) {
	p := render.NewProgress(s, "folding the log")
	defer p.End()
	return c.View(ctx, nc, js, m, p.Report)
}
