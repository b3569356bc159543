package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	metrics "github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/dev/authority"
	"fleet.nationtech.io/deploy/dev/prometheus"
	"fleet.nationtech.io/deploy/dev/provider"
	"fleet.nationtech.io/operator"
)

// sealInterval is how old an event of a local fleet grows before it is sealed: a
// person who tries verify and prove is watching.
const sealInterval = 20 * time.Second

// Fleet is a running one.
type Fleet struct {
	Env        Env
	RestConfig *rest.Config
	Devices    []Device
	Engine     string // EnginePodman or EngineMemory
	EngineWhy  string // why it is memory, where nobody asked for that
	Socket     string // of Podman
	Auth       string // AuthPassword or AuthOIDC
	// Targets are what Prometheus scrapes, with Options.Observability, and Registries
	// what a part of each job registers.
	Targets    []prometheus.Target
	Registries map[string]*metrics.Registry

	engines map[string]agent.Engine // by device
	configs map[string]agent.Config // by device
	// provider is what gives devices their tokens, with AuthOIDC.
	provider *provider.Provider
	// gateServers are what gates of rollouts may ask.
	gateServers []operator.PrometheusServer
	// restartOperator is of the operator that runs.
	restartOperator func(context.Context) error
}

// Run brings a fleet up in the order of its needs, calls use once all is ready,
// and takes it down in the reverse order when use returns, the context ends or
// a part fails. Containers go on running; the next Run finds them.
//
//	lock ─▶ Kubernetes API ─▶ CRDs ──┐
//	     ─▶ NATS + accounts (restore)┼─▶ operator ─▶ agents ─▶ .fleet/env ─▶ use
//	     ─▶ Podman, sample images ───┘
//
// With AuthOIDC the identity provider comes up before NATS and goes down after it,
// and the replicas of the auth callout come up right after NATS.
func Run(ctx context.Context, o Options, use func(context.Context, *Fleet) error) (err error) {
	if err := o.complete(); err != nil {
		return err
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	held, err := lock(o.path("lock"))
	if err != nil {
		return err
	}
	defer held.Close()
	if err := removeEnv(o.path("env")); err != nil {
		return err
	}
	r := &runner{Options: o, began: time.Now(), fleet: &Fleet{
		Devices: devices(o.Prefix, o.Devices), Auth: o.Auth, engines: map[string]agent.Engine{}, configs: map[string]agent.Config{},
		Registries: map[string]*metrics.Registry{},
	}}
	asked := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.fail = cancel
	defer func() { err = errors.Join(err, r.down()) }()
	if err := r.up(ctx); err != nil {
		if asked.Err() != nil {
			return asked.Err() // a person's Ctrl-C is no failure of the parts that it cut short
		}
		return cause(ctx, err)
	}
	return cause(ctx, use(ctx, r.fleet))
}

// cause prefers the failure of a part over the cancelled context that followed.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}

// runner is a fleet in the making, and what has to be undone.
type runner struct {
	Options
	fleet *Fleet
	began time.Time
	fail  context.CancelCauseFunc

	observed []observed // with Observability: what serves its metrics by this process
	// askedByGates is where gates ask the fleet's own Prometheus; empty: they do not.
	askedByGates string

	policies <-chan error // ends once changes of Deployments are named, or will not be

	// Of AuthOIDC alone.
	ca           *authority.Authority
	certificate  *accounts.TLS // of the NATS server
	webSocketURL string        // of the NATS server
	enrolled     <-chan error  // ends once the devices have their keys
	callouts     []*service.Service

	mu   sync.Mutex // parts come up side by side
	undo []func() error

	saying sync.Mutex // Out need not be for many at a time
}

func (r *runner) down() error {
	var errs []error
	for i := len(r.undo) - 1; i >= 0; i-- {
		errs = append(errs, r.undo[i]())
	}
	errs = append(errs, removeEnv(r.path("env")))
	return errors.Join(errs...)
}

// say tells the person that a component is up.
func (r *runner) say(format string, args ...any) {
	r.saying.Lock()
	defer r.saying.Unlock()
	fmt.Fprintf(r.Out, "  %5.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *runner) up(ctx context.Context) error {
	remembered, err := loadPorts(r.path("ports.json"))
	if err != nil {
		return err
	}
	for _, d := range r.fleet.Devices {
		if slices.Contains(r.Legacy, d.ID) {
			return fmt.Errorf("older agent %s: a device of that id runs here already; give another", d.ID)
		}
	}
	users, err := r.users()
	if err != nil {
		return err
	}
	if err := r.upProvider(ctx, &remembered); err != nil {
		return err
	}
	clusterUp := r.inBackground(func() error { return r.upCluster(ctx) })
	engineUp := r.inBackground(func() error { return r.upEngine(ctx) })
	natsErr := r.upNATS(ctx, remembered, users)
	if natsErr == nil {
		natsErr = r.upCallouts(ctx, users)
	}
	if err := errors.Join(natsErr, <-clusterUp, <-engineUp); err != nil {
		return err
	}
	if err := r.restore(ctx, users); err != nil {
		return err
	}
	if err := r.upOperator(ctx, remembered, users); err != nil {
		return err
	}
	if err := r.awaitCallouts(ctx); err != nil {
		return err
	}
	if err := r.upAgents(ctx, users); err != nil {
		return err
	}
	if err := r.upObservability(ctx); err != nil {
		return err
	}
	if err := <-r.policies; err != nil {
		return err
	}
	return r.fleet.Env.write(r.path("env"))
}

func (r *runner) upCluster(ctx context.Context) error {
	c, err := startCluster(ctx, r.Options)
	if err != nil {
		return err
	}
	r.onDown(c.stop)
	if done := c.done(); done != nil {
		go func() {
			select {
			case <-done:
				r.fail(fmt.Errorf("the Kubernetes API ended; see %s", r.path("kubeapi.log")))
			case <-ctx.Done():
			}
		}()
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	r.fleet.RestConfig, r.fleet.Env.Kubeconfig = c.config, c.kubeconfig
	r.policies = r.inBackground(func() error { return c.awaitPolicies(ctx) })
	r.say("Kubernetes API  %s", c.config.Host)
	if c.unnamed != nil {
		r.say("the log will name field managers instead of users: %v", c.unnamed)
	}
	return nil
}

func (r *runner) upOperator(ctx context.Context, remembered ports, users accounts.Users) error {
	l, err := listen(ctx, r.MetricsPort, remembered.Metrics)
	if err != nil {
		return fmt.Errorf("operator's metrics: %w", err)
	}
	remembered, err = loadPorts(r.path("ports.json"))
	if err != nil {
		return err
	}
	remembered.Metrics = portOf(l)
	pages, err := listen(ctx, r.DashboardPort, cmp.Or(remembered.Dashboard, r.usualDashboardPort))
	if err != nil {
		return err
	}
	remembered.Dashboard = portOf(pages)
	if r.fleet.gateServers, err = r.gateServers(ctx, &remembered); err != nil {
		return err
	}
	if err := remembered.save(r.path("ports.json")); err != nil {
		return err
	}
	key, err := operator.SealKeyInFile(r.path("seal.nk"))
	if err != nil {
		return err
	}
	if r.fleet.Env.SealKey, err = key.PublicKey(); err != nil {
		return fmt.Errorf("seal key: %w", err)
	}
	signIn, err := r.signIn("http://" + pages.Addr().String())
	if err != nil {
		return err
	}
	if err := r.operate(ctx, users, signIn, l, pages); err != nil {
		return err
	}
	r.say("operator        %s", r.fleet.Env.MetricsURL)
	if signIn.Asked() {
		r.say("dashboard       %s  sign in as viewer, operator or admin", r.fleet.Env.DashboardURL)
	} else {
		r.say("dashboard       %s", r.fleet.Env.DashboardURL)
	}
	return nil
}

// operate runs an operator that serves at some addresses, and lets another one take its place.
func (r *runner) operate(ctx context.Context, users accounts.Users, signIn operator.SignIn, l, pages net.Listener) error {
	op, err := operator.New(operator.Options{
		URL:         r.fleet.Env.NATSURL,
		NATSOptions: append(r.fleet.Env.NATSOptions(), nats.UserInfo(userOperator, users.Operator.Password), nats.Name("fleet-operator")),
		NATSTrust:   r.fleet.Env.NATSOptions(),
		RestConfig:  r.fleet.RestConfig, Identity: "fleet-dev",
		SealKeyFile: r.path("seal.nk"), SealInterval: sealInterval, LogMaxBytes: r.LogMaxBytes, Prometheus: r.fleet.gateServers, PulseInterval: r.PulseInterval, AdoptCluster: r.AdoptCluster,
		Listener: l, DashboardListener: pages, DashboardSignIn: signIn, Logger: r.Logger.With("component", "operator"), Registry: r.registry(jobOperator, ""),
		Traces: operator.TracesConfigured(r.TraceEndpoint, os.Getenv), TraceEndpoint: r.TraceEndpoint,
	})
	if err != nil {
		return err
	}
	base := "http://" + l.Addr().(*net.TCPAddr).String()
	r.fleet.Env.OperatorURL, r.fleet.Env.MetricsURL, r.fleet.Env.DashboardURL = base, base+"/metrics", "http://"+pages.Addr().String()
	end := r.background(ctx, "operator", op.Run)
	r.fleet.restartOperator = func(within context.Context) error {
		end()
		l, err := listen(within, portOf(l), 0)
		if err != nil {
			return fmt.Errorf("operator's metrics: %w", err)
		}
		pages, err := listen(within, portOf(pages), 0)
		if err != nil {
			return fmt.Errorf("dashboard: %w", err)
		}
		return r.operate(ctx, users, signIn, l, pages)
	}
	if err := r.await(ctx, base+"/readyz", 2*time.Minute); err != nil {
		return fmt.Errorf("operator: %w", err)
	}
	return nil
}

// RestartOperator ends the operator, and runs another one at its addresses.
func (f *Fleet) RestartOperator(ctx context.Context) error { return f.restartOperator(ctx) }
