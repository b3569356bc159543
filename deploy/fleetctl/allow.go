package fleetctl

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/eventlog"
)

func newAllow(s cli.Streams, c *query.Connection) *cobra.Command {
	var reason, output string
	cmd := &cobra.Command{
		Use:   "allow DEVICE",
		Short: "Let a device in again that was decommissioned or cut off",
		Long: `Let a device in again that was decommissioned, or whose access was revoked.

A decommissioned device becomes a device of the fleet with its next report of
itself, which its agent makes when it starts: restart the agent where it still runs.
Its new Device does not have the labels that persons had set. A request to
decommission it on which no operator has acted yet is taken back.

A device that was cut off because it flooded the log is heard again. It is cut off
again where it still writes more than its budget.`,
		Example: "  fleetctl device allow edge-03 --reason 'repaired'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			device, err := deviceArg(args[0])
			if err != nil {
				return cli.Misused(err, s.Program()+" device allow edge-03")
			}
			if err := checkTextOrJSON(output); err != nil {
				return err
			}
			return c.WithDevice(cmd.Context(), s, cmd.Name(), device, func(js jetstream.JetStream, st query.Standing) error {
				return allow(cmd.Context(), s, c, js, st, reason, output)
			})
		},
		ValidArgsFunction: completion{c}.device,
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the log")
	bindOutput(cmd, &output)
	return cmd
}

// allowed is what came of it.
type allowed struct {
	Device  string `json:"device"`
	Allowed uint64 `json:"allowed,omitempty"` // the event; 0 where nothing kept the device out
}

// reasonRequested is the reason of what a person asked for; the person's own words
// are the message.
const reasonRequested = "Requested"

func allow(ctx context.Context, s cli.Streams, c *query.Connection, js jetstream.JetStream, st query.Standing, reason, output string) error {
	id := st.Device.ID
	if !st.Device.Out() && st.Device.Access == nil {
		return answer(s, output, allowed{Device: id}, "nothing keeps %s out\n", id)
	}
	bounded, cancel := context.WithTimeout(ctx, defaultWait)
	defer cancel()
	seq, err := c.Append(bounded, s, js, eventlog.AccessSubject(id), eventlog.AccessAllowed, eventlog.Access{Reason: reasonRequested, Message: reason})
	if err != nil {
		return err
	}
	then := "it is heard again"
	switch {
	case st.Device.Decommissioned:
		then = "its next report of itself makes it a device of the fleet; its agent reports when it starts"
	case st.Device.Leaving != nil:
		then = "the request to decommission it is taken back"
	}
	return answer(s, output, allowed{Device: id, Allowed: seq}, "%s is allowed (event %d); %s\n", id, seq, then)
}
