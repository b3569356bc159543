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
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/run"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/client/informers/externalversions"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/brain"
	"fleet.nationtech.io/operator/internal/deployments"
	"fleet.nationtech.io/operator/internal/devices"
	"fleet.nationtech.io/operator/internal/fold"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/internal/leader"
	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/operator/internal/syncsvc"
	"fleet.nationtech.io/projections/fleet"
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
//	                              brain: Decide, under the state's lock ──┘ appends, fenced
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
	actor(&g, ctx, waitFor)
	actor(&g, ctx, r.fold.Run)
	actor(&g, ctx, r.watchAPI)
	actor(&g, ctx, r.monitor.Run)
	actor(&g, ctx, r.sync.Run)
	actor(&g, ctx, func(ctx context.Context) error { return r.candidate.Run(ctx, r.lead) })
	actor(&g, ctx, r.watchLog)
	actor(&g, ctx, r.events.Run)
	if listener != nil {
		actor(&g, ctx, func(ctx context.Context) error { return r.serve(ctx, listener) })
	}
	if err := g.Run(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// actor runs fn with a context that ends when another actor has ended.
func actor(g *run.Group, ctx context.Context, fn func(context.Context) error) {
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

// replica is a wired Operator.
type replica struct {
	options Options
	nc      *nats.Conn
	js      jetstream.JetStream
	kube    kubernetes.Interface

	fold        *fold.Fold
	monitor     *liveness.Monitor
	brain       *brain.Brain
	deployments *deployments.Controller
	devices     *devices.Controller
	informers   externalversions.SharedInformerFactory
	sync        *syncsvc.Service
	candidate   leader.Candidate
	appender    *eventlog.Appender
	events      *kube.Events
	metrics     *metrics

	wasFull bool // the brain's own
}

func (o *Operator) wire(nc *nats.Conn) (*replica, error) {
	opt := o.options
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	config := rest.CopyConfig(opt.RestConfig)
	if config.QPS == 0 {
		config.QPS = -1 // what is written is bounded by its writers, not by the client
	}
	config.UserAgent = "fleet-operator/" + version.Version
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("operator: Kubernetes client: %w", err)
	}
	client, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("operator: Kubernetes client: %w", err)
	}
	appender, err := eventlog.NewAppender(nc, eventlog.AppenderOptions{Source: "operator"})
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}

	r := &replica{options: opt, nc: nc, js: js, kube: core, appender: appender}
	r.metrics = newMetrics(opt.Registry, r)
	r.informers = externalversions.NewSharedInformerFactory(client, 0)
	r.fold = fold.New(js, opt.Logger, r.folded)
	r.monitor = liveness.NewMonitor(liveness.NATS{Conn: nc}, opt.PulseInterval, r.turned)
	r.deployments, err = deployments.New(r.informers, deployments.Options{
		Client: client, Do: r.fold.Do, Now: opt.Now, Logger: opt.Logger,
		Decide:  func(key fleet.Key) { r.brain.Add(brain.Input{Input: decide.OfDeployment(key)}) },
		Patched: func() { r.metrics.patched("Deployment") },
	})
	if err != nil {
		return nil, err
	}
	r.devices, err = devices.New(r.informers, devices.Options{
		Client: client, Labels: opt.DeviceLabels, Do: r.fold.Do, Now: opt.Now, Logger: opt.Logger,
		Decide:  func(id string) { r.brain.Add(brain.Input{Input: decide.OfDevice(id)}) },
		Patched: func() { r.metrics.patched("Device") },
	})
	if err != nil {
		return nil, err
	}
	r.brain = brain.New(brain.Options{
		Fold: r.fold, Verdict: r.monitor.Verdict, Withheld: r.deployments.Withheld,
		Settled: r.settled, Appended: r.appended, Full: r.full, Now: opt.Now, Logger: opt.Logger,
	})
	r.sync = syncsvc.New(nc, r.fold, syncsvc.DesiredState{JS: js}, syncsvc.Options{Logger: opt.Logger, Registry: opt.Registry})
	r.candidate = leader.Candidate{
		Client: core, Namespace: opt.Namespace, Identity: opt.Identity,
		Duration: opt.LeaseDuration, Deadline: opt.RenewDeadline, Retry: opt.RetryPeriod, Logger: opt.Logger,
	}
	r.events = kube.NewEvents(core, opt.Identity, corev1.ObjectReference{
		APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: opt.Namespace, Name: leader.LeaseName,
	}, opt.Logger)
	return r, nil
}

// watchAPI runs the watches until the context ends.
func (r *replica) watchAPI(ctx context.Context) error {
	r.informers.Start(ctx.Done())
	<-ctx.Done()
	r.informers.Shutdown()
	return nil
}

// synced says whether all that the API showed at first has been seen.
func (r *replica) synced() bool { return r.deployments.Synced() && r.devices.Synced() }

// folded is told what the log spoke of.
func (r *replica) folded(keys []fleet.Key, ids []string) {
	r.watch(ids)
	ins := make([]brain.Input, 0, len(keys)+2*len(ids))
	for _, k := range keys {
		ins = append(ins, brain.Input{Input: decide.OfProgress(k)})
	}
	for _, id := range ids {
		ins = append(ins, brain.Input{Input: decide.OfDevice(id)}, brain.Input{Presence: id})
	}
	r.brain.Add(ins...)
	r.deployments.Changed(keys)
	r.devices.Changed(ids)
}

// watch makes sure that the pulse of the devices is waited for.
func (r *replica) watch(ids []string) {
	type known struct {
		id       string
		presence fleet.Presence
		gone     bool
	}
	ks := make([]known, 0, len(ids))
	r.fold.Do(func(s *decide.State) {
		for _, id := range ids {
			if d := s.View().Devices[id]; d != nil {
				ks = append(ks, known{id, d.Presence, d.Decommissioned || d.Info == nil && !d.Registered})
			}
		}
	})
	for _, k := range ks {
		if k.gone {
			r.monitor.Forget(k.id)
			continue
		}
		r.monitor.Know(k.id, k.presence)
	}
}

// turned is told whose pulse began or ended.
func (r *replica) turned(ids []string) {
	ins := make([]brain.Input, len(ids))
	for i, id := range ids {
		ins[i] = brain.Input{Presence: id}
	}
	r.brain.Add(ins...)
}

// settled is told what has nothing more due.
func (r *replica) settled(ins []decide.Input) {
	for _, in := range ins {
		if in.Deployment != (fleet.Key{}) {
			r.deployments.Settled(in.Deployment)
		}
	}
}
