// Package app wires one replica of the operator and runs it.
package app

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
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/version"
	"fleet.nationtech.io/operator/internal/agentmetrics"
	"fleet.nationtech.io/operator/internal/budgets"
	"fleet.nationtech.io/operator/internal/checkpointer"
	"fleet.nationtech.io/operator/internal/decider"
	"fleet.nationtech.io/operator/internal/deployments"
	"fleet.nationtech.io/operator/internal/devices"
	"fleet.nationtech.io/operator/internal/eventsapi"
	"fleet.nationtech.io/operator/internal/gates"
	"fleet.nationtech.io/operator/internal/health"
	"fleet.nationtech.io/operator/internal/kube"
	"fleet.nationtech.io/operator/internal/lag"
	"fleet.nationtech.io/operator/internal/leader"
	"fleet.nationtech.io/operator/internal/liveness"
	"fleet.nationtech.io/operator/internal/rolloutmetrics"
	"fleet.nationtech.io/operator/internal/sealer"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/operator/internal/syncsvc"
	"fleet.nationtech.io/operator/internal/term"
)

// App is one replica.
type App struct {
	options Options
	ready   chan struct{} // closes once HTTP, if any, is served
	addr    net.Addr

	dashboardReady chan struct{} // closes once the dashboard, if any, is served
	dashboardAddr  net.Addr
}

// New checks the options; it does not touch the world.
func New(o Options) (*App, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &App{options: o, ready: make(chan struct{}), dashboardReady: make(chan struct{})}, nil
}

// Addr waits until HTTP is served and says where; nil where it is not.
func (a *App) Addr(ctx context.Context) net.Addr {
	select {
	case <-a.ready:
		return a.addr
	case <-ctx.Done():
		return nil
	}
}

// Run works until the context ends, and then returns nil.
//
//	         event log                         Kubernetes API           fleet.pulse.>
//	             │                                   │                       │
//	             ▼           their CRs               ▼                       ▼
//	       ┌───────────┐ ◀───────────────── ┌──────────────────┐       ┌──────────┐
//	       │   state   │                    │   deployments    │       │ liveness │
//	       │ view + CRs│ ── what changed ─▶ │ devices, budgets │       └────┬─────┘
//	       └─────┬─────┘                    └────────┬─────────┘            │
//	             │ read, under its lock              │ keys                 │ devices that came or went
//	             │                                   ▼                      ▼
//	             │      ┌──────────────────────────────────────────────────────┐   a seal is due
//	             │      │                        queue                         │ ◀─────────────── sealer
//	             │      │                                                      │ ◀─────────────── gates ◀── Prometheus servers
//	             │      └─────────────────────────┬────────────────────────────┘
//	             ▼                                ▼
//	       ┌───────────────────────────────────────────┐   drafts   ┌──────────┐
//	       │   decider: decide.Decide, until nothing   │ ─────────▶ │ appender │ ──▶ event log, fenced
//	       │                  is due                   │            └──────────┘
//	       └─────────────────────┬─────────────────────┘
//	                             │ what is settled, failed, appended; the log is full
//	                             ▼
//	       ┌───────────────────────────────────────────┐
//	       │ term: election, reserve, reconcile, resync│ ──▶ deployments, devices, budgets: finalizers, Device CRs, status
//	       └─────────────────────▲─────────────────────┘ ──▶ health of the buckets, checkpointer, sealer
//	                             │ while the Lease is held
//	                          leader
//
//	GET /api/v1/events ──▶ eventsapi ──▶ event log, by direct gets
//	spans of changes: traces ◀── event log, decider, statuses ──▶ OTLP collector, while this replica leads
//	pages, and their JSON ──▶ dashboard ──▶ moments: a fold of its own, now and of the past
//	fleet.sync.<device> ──▶ syncsvc ──▶ bucket desired-state, checked against the state's position
//
// Every replica watches, folds and answers sync; the one that leads a term decides
// and writes.
func (a *App) Run(ctx context.Context) error {
	o := a.options
	nc, err := connect(ctx, o)
	if err != nil {
		return err
	}
	if o.Conn == nil {
		defer nc.Close()
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("operator: %w", err)
	}
	log, err := appender.New(nc, appender.Options{Source: "operator"})
	if err != nil {
		return fmt.Errorf("operator: %w", err)
	}
	core, crs, err := clients(o.RestConfig)
	if err != nil {
		return err
	}
	informers := externalversions.NewSharedInformerFactory(crs, 0)
	writes := kube.NewMetrics(o.Registry)
	healths := health.NewMetrics(o.Registry)
	events := kube.NewEvents(core, o.Identity, corev1.ObjectReference{
		APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: o.Namespace, Name: leader.LeaseName,
	}, o.Logger)

	// What is known, and what is to be decided about.
	queue := decider.NewQueue()
	agentVersions := agentmetrics.NewVersions()
	known := state.New(state.Options{
		JS: js, Logger: o.Logger, NoCheckpoints: o.CheckpointEvents < 0, Tracing: o.Traces,
		Witness: state.Witnesses{rolloutmetrics.NewWitness(o.Registry), agentmetrics.NewJournal(o.Registry), agentVersions},
	})
	told := a.traces(js, known)
	figures := agentmetrics.NewPulses(liveness.Silence(o.PulseInterval))
	pulse := liveness.NewMonitor(liveness.NATS{Conn: nc}, o.PulseInterval, func(ids []string) { queue.AddPresence(ids...) }, figures)
	deploys, err := deployments.New(informers, deployments.Options{
		Client: crs, Do: known.Do, Decide: queue.AddDeployment, Events: events,
		Patched: func() { writes.Written("Deployment") }, Written: told.StatusWritten, Now: o.Now, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	devs, err := devices.New(informers, devices.Options{
		Client: crs, Labels: o.DeviceLabels, Do: known.Do, Decide: func(id string) { queue.AddDevices(id) }, Events: events,
		ClearPulse: func(ctx context.Context, id string) error { return logstream.ClearPulse(ctx, js, id) },
		Patched:    func() { writes.Written("Device") }, Now: o.Now, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	bounds, err := budgets.New(informers, budgets.Options{
		Client: crs, Do: known.Do, Decide: queue.AddBudget,
		Patched: func() { writes.Written("DisruptionBudget") }, Now: o.Now, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	observer := changes{state: known, queue: queue, pulse: pulse, deployments: deploys, devices: devs, budgets: bounds}

	// Who decides, and while leading does the rest.
	seals := sealer.New(sealer.Options{
		JS: js, Key: sealKey(o, core), Events: o.SealEvents, Interval: o.SealInterval, Propose: queue.AddSeal,
		Broken: func(err error) {
			events.Warn(sealer.ReasonSealBroken, "Seal", err.Error()+". The operator seals nothing any more. To see what differs: fleetctl verify", nil)
		},
		Metrics: sealer.NewMetrics(o.Registry), Now: o.Now, Logger: o.Logger,
	})
	checkpoints := checkpointer.New(checkpointer.Options{
		JS: js, Replicas: o.Replicas, Events: o.CheckpointEvents, Sequence: known.Sequence,
		Metrics: checkpointer.NewMetrics(o.Registry), Now: o.Now, Logger: o.Logger,
	})
	decides := decider.New(decider.Options{
		Queue: queue, State: known, Verdict: pulse.Verdict, Seal: seals.Due, AwaitingFinalizer: deploys.AwaitingFinalizer,
		Round: told.Round, Now: o.Now, Logger: o.Logger,
	})
	asker := gates.New(gates.Options{
		Servers: o.Prometheus, State: known, Answered: queue.AddAnswer,
		Metrics: gates.NewMetrics(o.Registry, o.Prometheus), Now: o.Now, Logger: o.Logger,
	})
	terms := term.NewLeader(term.Parts{
		NATS: nc, JS: js, Kube: core, Appender: log,
		State: known, Queue: queue, Decider: decides, Pulse: pulse, Deployments: deploys, Devices: devs, Budgets: bounds,
		Checkpointer: checkpoints, Sealer: seals, Gates: asker, Traces: told, Events: events, Metrics: term.NewMetrics(o.Registry),
		Buckets: health.Options{JS: js, Replicas: o.Replicas, Events: events, Metrics: healths, Logger: o.Logger},
	}, term.Settings{
		Identity: o.Identity, Replicas: o.Replicas, LogMaxBytes: o.LogMaxBytes, AdoptCluster: o.AdoptCluster,
		Now: o.Now, Logger: o.Logger,
	})
	candidate := leader.Candidate{
		Client: core, Namespace: o.Namespace, Identity: o.Identity,
		Duration: o.LeaseDuration, Deadline: o.RenewDeadline, Retry: o.RetryPeriod, Logger: o.Logger,
	}

	// What every replica does, whether it leads or not.
	logSize := health.LogSize{JS: js, Leads: terms.Leads, Events: events, Metrics: healths, Logger: o.Logger}
	sync := syncsvc.New(nc, known, syncsvc.DesiredState{JS: js}, syncsvc.Options{
		Log:    func(ctx context.Context) (logstream.Info, error) { return logstream.Inspect(ctx, js) },
		Logger: o.Logger, Registry: o.Registry,
	})
	http := server{gatherer: o.Registry, logger: o.Logger, unready: func() string {
		switch {
		case !nc.IsConnected():
			return "not connected to NATS"
		case !deploys.Synced() || !devs.Synced() || !bounds.Synced():
			return "the Kubernetes API has not shown all yet"
		case !known.Current():
			return "the replica has not caught up with the event log yet"
		}
		return ""
	}}
	ofLog := eventsapi.New(eventsapi.Options{JS: js, Fold: known, Registry: o.Registry, Logger: o.Logger})
	if !o.NoEventsAPI {
		http.events = ofLog
	}
	measures := rolloutmetrics.New(rolloutmetrics.Options{State: known, Leads: terms.Leads, Now: o.Now})
	o.Registry.MustRegister(state.Collector{Fold: known, Now: o.Now}, measures) // last: from now on they may be asked
	listener, err := a.listen(ctx)
	if err != nil {
		return err
	}

	var g run.Group
	actor(ctx, &g, func(ctx context.Context) error { // ends the group with the context
		<-ctx.Done()
		return nil
	})
	actor(ctx, &g, func(ctx context.Context) error { return known.Run(ctx, observer) })
	actor(ctx, &g, func(ctx context.Context) error {
		informers.Start(ctx.Done())
		<-ctx.Done()
		informers.Shutdown()
		return nil
	})
	actor(ctx, &g, pulse.Run)
	actor(ctx, &g, sync.Run)
	actor(ctx, &g, func(ctx context.Context) error {
		leading := false
		err := candidate.Run(ctx, func(leased context.Context) error {
			elected, err := terms.Lead(leased)
			leading = elected && ctx.Err() != nil // else the Lease was lost, and another leads
			return err
		})
		if leading && nc.IsConnected() { // the Lease is given up by now: nobody waits for this
			checkpoints.SaveAtEnd(ctx)
		}
		return err
	})
	actor(ctx, &g, logSize.Run)
	actor(ctx, &g, measures.Run)
	actor(ctx, &g, events.Run)
	actor(ctx, &g, told.Run)
	pages, err := a.serveDashboard(ctx, &g, js, ofLog)
	if err != nil {
		return err
	}
	behind := lag.New(lag.Options{JS: js, Readers: append(readers(known, seals, checkpoints), pages...), Now: o.Now, Logger: o.Logger})
	o.Registry.MustRegister(behind, agentmetrics.Collector{Versions: agentVersions, Pulses: figures, Ahead: behind.Ahead, Now: o.Now})
	actor(ctx, &g, behind.Run)
	if listener != nil {
		actor(ctx, &g, func(ctx context.Context) error { return http.serve(ctx, listener) })
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

// connect connects to NATS. Servers and names that start at the same time, as after a
// loss of power, are waited for: a pod that ends instead is started again later and later.
func connect(ctx context.Context, o Options) (*nats.Conn, error) {
	if o.Conn != nil {
		return o.Conn, nil
	}
	opts := append([]nats.Option{
		nats.Name("fleet-operator " + o.Identity),
		// Two refusals from one server would end the connection for good, and a server
		// refuses everybody while its configuration changes.
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(500 * time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			o.Logger.Warn("error of the connection to NATS", "error", err)
		}),
	}, o.NATSOptions...)
	for deadline := time.Now().Add(o.NATSWait); ; {
		nc, err := nats.Connect(o.URL, opts...)
		if err == nil {
			return nc, nil
		}
		if !time.Now().Before(deadline) {
			return nil, fmt.Errorf("connect to NATS at %s: %w", o.URL, err)
		}
		o.Logger.Warn("NATS does not answer yet", "url", o.URL, "error", err)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to NATS at %s: %w", o.URL, err)
		case <-time.After(natsRetry):
		}
	}
}

// natsRetry is between two tries to connect at the start.
const natsRetry = time.Second

// clients are those of the Kubernetes API: for its own kinds, and for ours.
func clients(config *rest.Config) (kubernetes.Interface, versioned.Interface, error) {
	config = rest.CopyConfig(config)
	if config.QPS == 0 {
		config.QPS = -1 // what is written is bounded by its writers, not by the client
	}
	config.UserAgent = "fleet-operator/" + version.Version
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("operator: Kubernetes client: %w", err)
	}
	crs, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("operator: Kubernetes client: %w", err)
	}
	return core, crs, nil
}

func (a *App) listen(ctx context.Context) (net.Listener, error) {
	defer close(a.ready)
	l := a.options.Listener
	if l == nil && a.options.ListenAddr != "" {
		var err error
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", a.options.ListenAddr); err != nil {
			return nil, fmt.Errorf("serve metrics and health: %w", err)
		}
	}
	if l != nil {
		a.addr = l.Addr()
	}
	return l, nil
}
