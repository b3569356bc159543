package fleetctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
)

func newPing(s cli.Streams, c *query.Connection) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:     "ping DEVICE",
		Short:   "Ask a device whether it is there",
		Long:    "Ask a device whether it is there, and tell how long the answer took. Exits with 3 if none comes.",
		Example: "  fleetctl ping edge-01",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ping(cmd.Context(), s, c, args[0], timeout)
		},
		ValidArgsFunction: completion{c}.device,
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait for the answer")
	return cmd
}

func ping(ctx context.Context, s cli.Streams, c *query.Connection, device string, timeout time.Duration) error {
	if err := eventlog.CheckName("device", device); err != nil {
		return cli.Misused(err, s.Program()+" ping edge-01")
	}
	nc, _, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := s.Now()
	answer, err := nc.RequestWithContext(bounded, eventlog.DeviceCommandSubject(device, eventlog.VerbPing), nil)
	took := s.Now().Sub(began)
	switch {
	case ctx.Err() != nil:
		return cli.Interrupted("")
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		if query.Refused(nc) {
			return c.Explain(err, nc)
		}
		why := fmt.Sprintf("no answer within %v", timeout)
		if errors.Is(err, nats.ErrNoResponders) {
			why = "the device is not connected, or does not exist"
		}
		return cli.FailedWith(cli.ExitNoAnswer, fmt.Errorf("ping %s: %s", device, why), "kubectl get fleetdev "+device+", and "+lastWords(s, device))
	case err != nil:
		return c.Explain(fmt.Errorf("ping %s: %w", device, err), nc)
	}
	var pong struct {
		DeviceID     string `json:"device_id"`
		AgentVersion string `json:"agent_version"`
		Error        string `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &pong); err != nil {
		return cli.Failed(fmt.Errorf("ping %s: cannot read the answer: %q", device, render.Printable(string(answer.Data))), lastWords(s, device))
	}
	if pong.Error != "" {
		return cli.Failed(fmt.Errorf("ping %s: the device says: %s", device, render.Printable(pong.Error)), lastWords(s, device))
	}
	s.Tell("%s answered in %v%s\n", device, took.Round(10*time.Microsecond), render.Printable(suffix(pong.AgentVersion)))
	return nil
}

func suffix(agentVersion string) string {
	if agentVersion == "" {
		return ""
	}
	return " (agent " + agentVersion + ")"
}

// lastWords is where to look for a device that does not answer as it should.
func lastWords(s cli.Streams, device string) string {
	return fmt.Sprintf("what it last said: %s log --device %s --since 1d -o text", s.Program(), device)
}
