package enrolling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/enroll"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/query"
	"fleet.nationtech.io/eventlog"
)

const (
	enrollPing     = 2 * time.Second // how long a device may take to answer
	enrollPingMore = 300 * time.Millisecond
	enrollPongs    = 8 // more machines of one id need not be told apart
	enrollRead     = 15 * time.Second
)

// Decommission asks the operator to take a device out of the fleet, and waits until it
// has.
type Decommission func(ctx context.Context, js jetstream.JetStream, st query.Standing, reason string) error

// enrollFleet is the fleet as an enrolment asks it, over one connection for all devices.
type enrollFleet struct {
	streams      cli.Streams
	connection   *query.Connection
	decommission Decommission // unenroll alone needs it

	once sync.Once
	nc   *nats.Conn
	js   jetstream.JetStream
	err  error
}

var _ enroll.Fleet = (*enrollFleet)(nil)

// open connects at the first use.
func (f *enrollFleet) open() error {
	f.once.Do(func() { f.nc, f.js, f.err = f.connection.OpenTo(f.streams, true) })
	return f.err
}

func (f *enrollFleet) close() {
	if f.nc != nil {
		f.nc.Close()
	}
}

func (f *enrollFleet) standing(ctx context.Context, id string) (query.Standing, error) {
	if err := f.open(); err != nil {
		return query.Standing{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, enrollRead)
	defer cancel()
	permitted, stop := f.connection.Permitted(ctx)
	defer stop()
	st, err := query.ReadStanding(permitted, f.js, id)
	if err != nil {
		return st, f.connection.Explain(err, f.nc)
	}
	return st, nil
}

func (f *enrollFleet) Standing(ctx context.Context, id string) (enroll.FleetDevice, error) {
	st, err := f.standing(ctx, id)
	if err != nil || st.Device == nil {
		return enroll.FleetDevice{}, err
	}
	d := enroll.FleetDevice{Known: st.Device.Registered, Decommissioned: st.Device.Out()}
	if a := st.Device.Access; a != nil {
		if d.Revoked = a.Reason; d.Revoked == "" {
			d.Revoked = "without a reason"
		}
	}
	return d, nil
}

// Ping collects the answers of all who answer: with one id two machines may. Within one
// account all come; between accounts the servers pass on the first.
func (f *enrollFleet) Ping(ctx context.Context, id string) ([]enroll.Pong, error) {
	if err := f.open(); err != nil {
		return nil, err
	}
	inbox := f.nc.NewInbox()
	sub, err := f.nc.SubscribeSync(inbox)
	if err == nil {
		defer func() { _ = sub.Unsubscribe() }()
		err = f.nc.PublishRequest(eventlog.DeviceCommandSubject(id, eventlog.VerbPing), inbox, nil)
	}
	if err != nil {
		return nil, f.connection.Explain(err, f.nc)
	}
	var pongs []enroll.Pong
	for wait := enrollPing; ; wait = enrollPingMore {
		bounded, cancel := context.WithTimeout(ctx, wait)
		m, err := sub.NextMsgWithContext(bounded)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
			if len(pongs) == 0 && query.Refused(f.nc) {
				return nil, f.connection.Explain(err, f.nc)
			}
			return pongs, nil
		case err != nil:
			return nil, f.connection.Explain(err, f.nc)
		case len(m.Data) == 0 && m.Header.Get("Status") != "":
			return pongs, nil // nobody is subscribed
		}
		var pong struct {
			AgentVersion string `json:"agent_version"`
			Invocation   string `json:"invocation"`
		}
		if err := json.Unmarshal(m.Data, &pong); err != nil {
			return nil, fmt.Errorf("%s answers a ping with what cannot be read", id)
		}
		pongs = append(pongs, enroll.Pong{Version: pong.AgentVersion, Invocation: pong.Invocation})
		if len(pongs) >= enrollPongs {
			return pongs, nil
		}
	}
}

func (f *enrollFleet) Decommission(ctx context.Context, id, reason string) error {
	st, err := f.standing(ctx, id)
	if err != nil || st.Device == nil {
		return err
	}
	if err := eventlog.CheckName("user", f.connection.User); err != nil {
		return cli.Misused(fmt.Errorf("a request needs a user: %w", err), "--user")
	}
	if err := f.decommission(ctx, f.js, st, reason); err != nil {
		return f.connection.Explain(err, f.nc)
	}
	return nil
}
