package fleetctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
	"fleet.nationtech.io/projections/viewdiff"
)

func newDevice(s Streams, c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Take a device out of the fleet, or let it in again",
	}
	cmd.AddCommand(newDecommission(s, c), newAllow(s, c))
	for _, sub := range cmd.Commands() {
		completeNoFiles(sub)
	}
	return cmd
}

// deviceArg reads DEVICE or device/DEVICE.
func deviceArg(arg string) (string, error) {
	word, name, ok := strings.Cut(arg, "/")
	if !ok {
		name = arg
	} else if r, err := resourceOf(word); err != nil || r.namespaced {
		return "", fmt.Errorf("%q is not of the form DEVICE or device/DEVICE", arg)
	}
	return name, eventlog.CheckName("device", name)
}

// standingOf is what the log says of whether a device is of the fleet.
type standingOf struct {
	device    *fleet.Device // nil: the log knows nothing of it
	assigned  []string      // NAMESPACE/NAME of each Deployment on it
	left      uint64        // the event that decommissioned it, where it is out
	sequence  uint64        // the last event that was read
	requested uint64        // the open request to decommission it
}

// standing folds one device's part of the log.
func standing(ctx context.Context, js jetstream.JetStream, device string) (standingOf, error) {
	var st standingOf
	view := fleet.New()
	for e, err := range reader.Read(ctx, js, reader.Options{Subjects: timeline.DeviceSubjects(device)}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return st, err
		}
		was := view.Devices[device] != nil && view.Devices[device].Decommissioned
		fleet.Apply(view, e, err)
		if d := view.Devices[device]; d != nil && d.Decommissioned && !was {
			st.left = e.Sequence
		}
		st.sequence = e.Sequence
	}
	d := view.Devices[device]
	if d == nil {
		return st, nil
	}
	if !d.Decommissioned {
		st.left = 0
	}
	if d.Leaving != nil {
		st.requested = d.Leaving.Mark.Sequence
	}
	if d.Out() || d.Access != nil || !d.RegisteredAt.IsZero() || viewdiff.Known(d) {
		st.device = d
	}
	for p := range d.Assignments {
		if p.Assigned() {
			st.assigned = append(st.assigned, p.Deployment.Key.String())
		}
	}
	return st, nil
}

// ask connects as a person who asks something about a device by a command, and
// gives the device's standing.
func (c *connection) ask(ctx context.Context, s Streams, command, device string, then func(jetstream.JetStream, standingOf) error) error {
	nc, js, err := c.open()
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := eventlog.CheckName("user", c.user); err != nil {
		return misused(fmt.Errorf("a request bears its user's name: %w", err), "--user")
	}
	permitted, stop := c.permitted(ctx)
	defer stop()
	st, err := standing(permitted, js, device)
	if err == nil && st.device == nil {
		err = unknownDevice(permitted, s, js, fmt.Errorf("the log knows no device %q", device), device, lookup{
			device: func(id string) string { return "device " + command + " " + id },
		})
	}
	if err == nil {
		err = then(js, st)
	}
	if f := (*failure)(nil); err != nil && !errors.As(err, &f) {
		return c.explain(err, nc)
	}
	return err
}

// appendAs appends an event in the person's own name.
func (c *connection) appendAs(ctx context.Context, s Streams, js jetstream.JetStream, subject string, t eventlog.Type, payload any) (uint64, error) {
	d, err := eventlog.NewDraft(subject, t, s.Now(), payload)
	if err != nil {
		return 0, err
	}
	d.Actor = c.user
	return appender.Unfenced(ctx, js, "fleetctl", d)
}

// answer writes what came of it, for a program or for a person.
func answer(s Streams, output string, v any, format string, args ...any) error {
	if output != outputJSON {
		s.tell(format, args...)
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.tell("%s\n", b)
	return nil
}

// bindOutput adds -o, for which there is a line of text or one of JSON.
func bindOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", outputText, "text or json")
	completeFlag(cmd, "output", fixed([]string{outputText, outputJSON}))
}

func checkLine(output string) error {
	if output != outputText && output != outputJSON {
		return misused(fmt.Errorf("-o %q is none of the outputs text and json", output), "-o json")
	}
	return nil
}

// defaultWait is how long a person waits for the operator.
const defaultWait = 10 * time.Second
