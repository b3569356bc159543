// Package operator is the fleet's operator: it watches Deployments and Devices
// in Kubernetes, decides from them and the fold of the event log what is due,
// appends it, and writes status back. Several replicas run; the one that holds
// the Lease and was elected in the log decides, all answer sync.
package operator

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/run"
)

// Operator is one replica.
type Operator struct {
	options Options
	ready   chan struct{} // closes once HTTP, if any, is served
	addr    net.Addr
}

// New checks the options; it does not touch the world.
func New(o Options) (*Operator, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &Operator{options: o, ready: make(chan struct{})}, nil
}

// Addr waits until HTTP is served and says where; nil where it is not.
func (o *Operator) Addr(ctx context.Context) net.Addr {
	select {
	case <-o.ready:
		return o.addr
	case <-ctx.Done():
		return nil
	}
}

// Run works until the context ends, and then returns nil.
//
//	Kubernetes API ──▶ deployments, devices ──▶ ┌───────┐
//	                                            │ state │ ◀── fold ◀── event log
//	pulse ──▶ liveness ─────────────┐           └───┬───┘                 ▲
//	                                ▼               ▼                     │
//	                              decider: Decide, under the state's lock ──┘ appends, fenced
//	                                                │ nothing more due
//	Kubernetes API ◀── deployments, devices ◀───────┘ finalizers, Device CRs, status
//
//	fleet.sync.<device> ──▶ syncsvc ──▶ bucket desired-state, checked against the fold
//
// All but the writing goes on in every replica.
func (o *Operator) Run(ctx context.Context) error {
	nc, err := o.connect()
	if err != nil {
		return err
	}
	if o.options.Conn == nil {
		defer nc.Close()
	}
	r, err := o.wire(nc)
	if err != nil {
		return err
	}
	listener, err := o.listen(ctx)
	if err != nil {
		return err
	}

	var g run.Group
	actor(ctx, &g, waitFor)
	actor(ctx, &g, r.fold.Run)
	actor(ctx, &g, r.watchAPI)
	actor(ctx, &g, r.monitor.Run)
	actor(ctx, &g, r.sync.Run)
	actor(ctx, &g, r.stand)
	actor(ctx, &g, r.watchLog)
	actor(ctx, &g, r.events.Run)
	if listener != nil {
		actor(ctx, &g, func(ctx context.Context) error { return r.serve(ctx, listener) })
	}
	if err := g.Run(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// actor runs fn with a context that ends when another actor has ended.
func actor(ctx context.Context, g *run.Group, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	g.Add(func() error { return fn(ctx) }, func(error) { cancel() })
}

func waitFor(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (o *Operator) connect() (*nats.Conn, error) {
	if o.options.Conn != nil {
		return o.options.Conn, nil
	}
	opts := append([]nats.Option{
		nats.Name("fleet-operator " + o.options.Identity),
		nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			o.options.Logger.Warn("NATS", "error", err)
		}),
	}, o.options.NATSOptions...)
	nc, err := nats.Connect(o.options.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", o.options.URL, err)
	}
	return nc, nil
}

func (o *Operator) listen(ctx context.Context) (net.Listener, error) {
	defer close(o.ready)
	l := o.options.Listener
	if l == nil && o.options.ListenAddr != "" {
		var err error
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", o.options.ListenAddr); err != nil {
			return nil, fmt.Errorf("serve metrics and health: %w", err)
		}
	}
	if l != nil {
		o.addr = l.Addr()
	}
	return l, nil
}
