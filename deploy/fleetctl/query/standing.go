package query

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
	"fleet.nationtech.io/projections/viewdiff"
)

// Standing is what the log says of whether a device belongs to the fleet.
type Standing struct {
	Device    *fleet.Device // nil: the log knows nothing of it
	Assigned  []string      // NAMESPACE/NAME of each Deployment on it
	Left      uint64        // the event that decommissioned it, where it is out
	sequence  uint64        // the last event that was read
	Requested uint64        // the open request to decommission it
	// AccessChanged is the last event that revoked or allowed its access.
	AccessChanged uint64
}

// ReadStanding folds one device's part of the log.
func ReadStanding(ctx context.Context, js jetstream.JetStream, device string) (Standing, error) {
	var st Standing
	view := fleet.New()
	for e, err := range reader.Read(ctx, js, reader.Options{Subjects: timeline.DeviceSubjects(device)}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return st, err
		}
		was := view.Devices[device] != nil && view.Devices[device].Decommissioned
		fleet.Apply(view, e, err)
		if d := view.Devices[device]; d != nil && d.Decommissioned && !was {
			st.Left = e.Sequence
		}
		if err == nil && e.Address.Family == eventlog.FamilyAccess {
			st.AccessChanged = e.Sequence
		}
		st.sequence = e.Sequence
	}
	d := view.Devices[device]
	if d == nil {
		return st, nil
	}
	if !d.Decommissioned {
		st.Left = 0
	}
	if d.Leaving != nil {
		st.Requested = d.Leaving.Mark.Sequence
	}
	if d.Out() || d.Access != nil || d.AccessRequest != nil || !d.RegisteredAt.IsZero() || viewdiff.Known(d) {
		st.Device = d
	}
	for p := range d.Assignments {
		if p.Assigned() {
			st.Assigned = append(st.Assigned, p.Deployment.Key.String())
		}
	}
	return st, nil
}

// WithDevice connects as a person whose command requests something about a device,
// and calls then with the device's standing. It fails where the log does not know
// the device.
func (c *Connection) WithDevice(ctx context.Context, s cli.Streams, command, device string, then func(jetstream.JetStream, Standing) error) error {
	return c.withStanding(ctx, device, func(ctx context.Context, js jetstream.JetStream, st Standing) error {
		if st.Device == nil {
			return UnknownDevice(ctx, s, js, fmt.Errorf("the log knows no device %q", device), device, Hints{
				device: func(id string) string { return "device " + command + " " + id },
			})
		}
		return then(js, st)
	})
}

// WithAnyDevice is WithDevice also for an id that the log does not know, whose
// standing is empty.
func (c *Connection) WithAnyDevice(ctx context.Context, _ cli.Streams, _, device string, then func(jetstream.JetStream, Standing) error) error {
	return c.withStanding(ctx, device, func(_ context.Context, js jetstream.JetStream, st Standing) error { return then(js, st) })
}

func (c *Connection) withStanding(ctx context.Context, device string, then func(context.Context, jetstream.JetStream, Standing) error) error {
	nc, js, err := c.Open()
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := eventlog.CheckName("user", c.User); err != nil {
		return cli.Misused(fmt.Errorf("a request needs a user: %w", err), "--user")
	}
	permitted, stop := c.Permitted(ctx)
	defer stop()
	st, err := ReadStanding(permitted, js, device)
	if err == nil {
		err = then(permitted, js, st)
	}
	if err != nil {
		return c.Explain(err, nc)
	}
	return nil
}

// Append appends an event whose actor is the connection's user.
func (c *Connection) Append(ctx context.Context, s cli.Streams, js jetstream.JetStream, subject string, t eventlog.Type, payload any) (uint64, error) {
	d, err := eventlog.NewDraft(subject, t, s.Now(), payload)
	if err != nil {
		return 0, err
	}
	d.Actor = c.User
	ctx, stop := c.Permitted(ctx)
	defer stop()
	return appender.Unfenced(ctx, js, "fleetctl", d)
}
