package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/timeline"
	"fleet.nationtech.io/projections/viewdiff"
)

// Standing is what the log says of whether a device belongs to the fleet, and may
// connect.
type Standing struct {
	Device    *fleet.Device // nil: the log knows nothing of it
	Assigned  []string      // NAMESPACE/NAME of each Deployment on it
	Left      uint64        // the event that decommissioned it, where it is out
	Requested uint64        // the open request to decommission it
	Access    *AccessChange // the last event on whether it may connect; nil: there is none

	id   string
	view *fleet.View // of what was read
}

// AccessChange is an event on whether a device may connect.
type AccessChange struct {
	Sequence uint64
	Time     time.Time
	Revoked  bool
	Actor    string
	eventlog.Access
}

// readStanding folds one device's part of the log, and shows each event that is not
// foreign to a function, which may be nil.
func readStanding(ctx context.Context, js jetstream.JetStream, device string, each func(eventlog.Event) error) (Standing, error) {
	st := Standing{id: device, view: fleet.New()}
	return st, st.read(ctx, js, each)
}

// Update folds what the log has of the device since.
func (st *Standing) Update(ctx context.Context, js jetstream.JetStream) error {
	return st.read(ctx, js, nil)
}

func (st *Standing) read(ctx context.Context, js jetstream.JetStream, each func(eventlog.Event) error) error {
	left := func() bool { d := st.view.Devices[st.id]; return d != nil && d.Decommissioned }
	for e, err := range reader.Read(ctx, js, reader.Options{From: st.view.Sequence + 1, Subjects: timeline.DeviceSubjects(st.id)}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			return err
		}
		was := left()
		fleet.Apply(st.view, e, err)
		if left() && !was {
			st.Left = e.Sequence
		}
		if err != nil {
			continue
		}
		if e.Type == eventlog.AccessRevoked || e.Type == eventlog.AccessAllowed {
			if a, err := eventlog.Payload[eventlog.Access](e); err == nil { // the fold skips it too
				st.Access = &AccessChange{e.Sequence, e.Recorded, e.Type == eventlog.AccessRevoked, e.Actor, a}
			}
		}
		if each != nil {
			if err := each(e); err != nil {
				return err
			}
		}
	}
	st.judge()
	return nil
}

// judge says what follows from what was read.
func (st *Standing) judge() {
	st.Device, st.Assigned, st.Requested = nil, nil, 0
	d := st.view.Devices[st.id]
	if d == nil {
		return
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
func (c *Connection) WithAnyDevice(ctx context.Context, device string, then func(jetstream.JetStream, Standing) error) error {
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
	st, err := readStanding(permitted, js, device, nil)
	if err == nil {
		err = then(permitted, js, st)
	}
	if err != nil {
		return c.Explain(err, nc)
	}
	return nil
}

// appendPatience is how long the servers may take to store one event.
const appendPatience = 10 * time.Second

// Append appends an event whose actor is the connection's user.
func (c *Connection) Append(ctx context.Context, s cli.Streams, js jetstream.JetStream, subject string, t eventlog.Type, payload any) (uint64, error) {
	d, err := eventlog.NewDraft(subject, t, s.Now(), payload)
	if err != nil {
		return 0, err
	}
	d.Actor = c.User
	ctx, cancel := context.WithTimeout(ctx, appendPatience)
	defer cancel()
	ctx, stop := c.Permitted(ctx)
	defer stop()
	return appender.Unfenced(ctx, js, "fleetctl", d)
}

// ReadStanding reads what the log says of a device.
func ReadStanding(ctx context.Context, js jetstream.JetStream, device string) (Standing, error) {
	return readStanding(ctx, js, device, nil)
}
