package agent

import (
	"context"
	"errors"
	"time"

	"github.com/oklog/run"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/agent/command"
	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/agent/reconcile"
	"fleet.nationtech.io/agent/reject"
	"fleet.nationtech.io/agent/report"
	"fleet.nationtech.io/agent/session"
	"fleet.nationtech.io/agent/store"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/version"
)

// Run works until the context ends, and then returns nil; containers go on
// running. Any other return is an error that a restart might cure, such as a
// data directory that cannot be written.
//
//	        desired                          containers
//	bus ──▶ session ──▶ store ──▶ reconcile ◀──▶ engine
//	 ▲        ▲                     │
//	 │        └── command (sync)    │ states, journal
//	 └──────────── report ◀─────────┴──── inventory
//
// Only session and report wait for the bus. Without it the reconciler goes on with
// what the store has, and report keeps what is to be told.
func (a *Agent) Run(ctx context.Context) (err error) {
	c, o := a.config, a.options
	stored, err := store.Open(c.StorePath(), store.Options{Logger: o.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stored.Close()) }()
	clock := &trust.Clock{}
	clock.AtLeast(trust.Built())
	credentials, err := identity.New(c, identity.Options{Clock: clock, Logger: o.Logger, Registerer: o.Registry})
	if err != nil {
		return err
	}
	dialer, err := bus.NewDialer(c, credentials, clock, o.Logger)
	if err != nil {
		return err
	}
	connection, err := bus.New(bus.Options{
		Dial: dialer.Dial, Show: credentials.Show, Changed: credentials.Changed(), Logger: o.Logger, Registerer: o.Registry,
	})
	if err != nil {
		return err
	}

	source := newSource(stored)
	rejected, err := reject.New(o.Logger, o.Registry)
	if err != nil {
		return err
	}
	reports, err := report.New(report.Options{
		Device: c.DeviceID, Store: stored, Bus: connection, PulseInterval: time.Duration(c.Report.PulseInterval),
		Logger: o.Logger, Registerer: o.Registry, Clock: o.Clock, Figures: a.figures.read, Assigned: stored.Assigned,
	})
	if err != nil {
		return err
	}
	live, err := session.New(session.Options{
		Device: c.DeviceID, Bus: connection, Store: stored, Changed: source.signal, LogChanged: reports.Resend,
		Rejected: rejected, Logger: o.Logger, Registerer: o.Registry, Clock: o.Clock,
	})
	if err != nil {
		return err
	}
	key, err := keyCommand(c, clock, credentials, o.Logger)
	if err != nil {
		return err
	}
	commands, err := command.New(command.Options{
		Device: c.DeviceID, Version: version.Version, Invocation: o.Invocation, Bus: connection, Resync: live.Resync, Key: key,
		Rejected: rejected, Logger: o.Logger, Clock: o.Clock,
	})
	if err != nil {
		return err
	}
	containers, err := reconcile.New(reconcile.Options{
		Device: c.DeviceID, Engine: o.Engine, Source: source, Reports: reports, Keeps: keeps{stored},
		Log: o.Logger, Clock: o.Clock, Registry: o.Registry,
	})
	if err != nil {
		return err
	}
	a.reconciler.Store(containers)

	reports.Started(eventlog.AgentStart{
		AgentVersion: version.Version, Engine: string(c.Podman.Engine), At: o.Clock().UTC(),
	})
	var group run.Group
	for _, part := range []func(context.Context) error{
		containers.Run,
		credentials.Run,
		connection.Run,
		live.Run,
		commands.Run,
		reports.Run,
		func(ctx context.Context) error { return a.tellInventory(ctx, credentials, reports) },
		func(ctx context.Context) error { return a.tellReady(ctx, containers) },
	} {
		inner, stop := context.WithCancel(ctx)
		group.Add(func() error { return part(inner) }, func(error) { stop() })
	}
	if err := group.Run(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (a *Agent) tellReady(ctx context.Context, k *reconcile.Reconciler) error {
	select {
	case <-ctx.Done():
		return nil
	case <-k.Ready():
		close(a.ready)
	}
	<-ctx.Done()
	return nil
}
