package fleetctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/complete"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/resource"
)

func newDeviceAgent(s cli.Streams, c *query.Connection) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "agent DEVICE",
		Short: "Show what a device's agent said of itself last",
		Long: `Show what a device's agent said of itself last: its version, from the log; and from
its newest pulse when that was heard, the device's clock against the NATS servers',
whether the container engine answers, how long the agent takes to list its
containers, how many events of its journal wait for the log, and how often what went
wrong since the agent was started.

An agent sends a pulse each 30 s. The servers keep the newest one alone, so there is
no history of it. An agent before 0.2 sends no figures.`,
		Example: "  fleetctl device agent edge-03\n  fleetctl device agent edge-03 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			device, err := resource.DeviceArg(args[0])
			if err != nil {
				return cli.Misused(err, s.Program()+" device agent edge-03")
			}
			if err := complete.CheckTextOrJSON(output); err != nil {
				return err
			}
			return tellAgent(cmd.Context(), s, c, device, output)
		},
		ValidArgsFunction: completion{c}.device,
	}
	complete.BindOutput(cmd, &output)
	return cmd
}

func tellAgent(ctx context.Context, s cli.Streams, c *query.Connection, device, output string) error {
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	permitted, stop := c.Permitted(ctx)
	defer stop()
	a, err := readAgent(permitted, js, device)
	if errors.Is(err, errNeverHeard) {
		return cli.Failed(err, s.Program()+" device why "+device)
	}
	if err != nil {
		return c.Explain(err, nc)
	}
	a.Now = s.Now()
	if output == render.OutputJSON {
		_, err := render.Document(s, output, a)
		return err
	}
	a.Text(s)
	return nil
}

// errNeverHeard says that the servers hold no pulse of a device.
var errNeverHeard = errors.New("the servers hold no pulse of it: it never connected, or its name is another")

// readAgent reads the newest pulse of a device, and the version of its agent.
func readAgent(ctx context.Context, js jetstream.JetStream, device string) (render.Agent, error) {
	m, err := reader.LastMessage(ctx, js, eventlog.PulseStream, eventlog.PulseSubject(device))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return render.Agent{}, fmt.Errorf("device %s: %w", device, errNeverHeard)
	}
	if err != nil {
		return render.Agent{}, err
	}
	beat, err := eventlog.ParseHeartbeat(device, m.Data)
	if err != nil {
		return render.Agent{}, fmt.Errorf("device %s: %w", device, err)
	}
	a := render.NewAgent(beat, m.Time)
	m, err = reader.LastMessage(ctx, js, eventlog.LogStream, eventlog.InfoSubject(device))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	if e, err := eventlog.Decode(m.Subject, m.Header, m.Data, m.Sequence, m.Time); err == nil {
		if info, err := eventlog.Payload[eventlog.DeviceInfo](e); err == nil {
			a.Version = info.Inventory.AgentVersion
		}
	}
	return a, nil
}
