package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/run"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/access"
	"fleet.nationtech.io/callout/audit"
	"fleet.nationtech.io/callout/decision"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/token"
	"fleet.nationtech.io/eventlog"
)

// Service is one replica.
type Service struct {
	options  Options
	provider *token.Provider
	keys     *token.Keys
	verifier *token.Verifier
	answers  atomic.Pointer[responder.Responder] // nil before Run
}

// Ready says whether the replica takes requests now.
func (s *Service) Ready() bool {
	r := s.answers.Load()
	return r != nil && r.Subscribed()
}

// New checks the options and wires what needs no connection.
func New(o Options) (*Service, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("auth callout: %w", err)
	}
	s := &Service{options: o}
	if err := s.wireProvider(); err != nil {
		return nil, fmt.Errorf("auth callout: %w", err)
	}
	// What the keys are wrong in is said before anything is connected.
	if _, err := responder.New(responder.Options{Keys: o.Keys, AllowPlain: o.AllowPlain}); err != nil {
		return nil, fmt.Errorf("auth callout: %w", err)
	}
	return s, nil
}

func (s *Service) wireProvider() error {
	o := &s.options
	client, err := o.client()
	if err != nil {
		return err
	}
	metrics := token.NewMetrics(o.Registry)
	s.provider, err = token.NewProvider(token.ProviderOptions{
		Issuer: o.Issuer, KeysURL: o.KeysURL, IntrospectionURL: o.IntrospectionURL, Client: client, Timeout: o.ProviderTimeout, Metrics: metrics,
	})
	if err != nil {
		return err
	}
	if len(o.Algorithms) == 0 {
		o.Algorithms = []string{"RS256"}
	}
	s.keys = token.NewKeys(token.KeysOptions{
		Source: s.provider, Algorithms: o.Algorithms, MinInterval: o.KeysMinInterval, MaxAge: o.KeysMaxAge,
		Now: o.Now, Logger: o.Logger, Metrics: metrics,
	})
	var introspector *token.Introspector
	if o.Introspection != nil {
		introspector = token.NewIntrospector(token.IntrospectorOptions{Provider: s.provider, Credentials: o.Introspection, Now: o.Now})
	}
	s.verifier, err = token.NewVerifier(token.Options{
		Issuer: o.Issuer, Project: o.Project, Algorithms: o.Algorithms, Keys: s.keys, Introspector: introspector, Now: o.Now,
	})
	return err
}

// Run is
//
//	                    identity provider ──▶ keys ──┐
//	servers ──▶ AUTH ──▶ responder ──▶ decider ──▶ verifier, rules, rights
//	                                     │   └──▶ access ◀── follower ◀── FLEET  fleet.evt.access.*
//	                                     ▼           └──▶ connections ──▶ SYS    kicks
//	                                   recorder ──────────────────────▶ FLEET  fleet.evt.auth.*
//
// until the context ends. Then the responder answers what it has taken, before
// the others end.
func (s *Service) Run(ctx context.Context) error {
	o := s.options
	conns, err := s.connect()
	if err != nil {
		return fmt.Errorf("auth callout: %w", err)
	}
	defer conns.close()
	js, err := jetstream.New(conns.log)
	if err != nil {
		return fmt.Errorf("auth callout: %w", err)
	}

	accessMetrics := access.NewMetrics(o.Registry)
	limiter := access.NewLimiter(o.Now)
	var connections *access.Connections
	follower := access.NewFollower(access.FollowerOptions{
		JetStream: js, Grace: o.Grace, Now: o.Now, Logger: o.Logger, Metrics: accessMetrics,
		Revoked: func(subject string) { connections.End(subject) },
	})
	connections = access.NewConnections(access.ConnectionsOptions{
		Conn: conns.system, Accounts: callout.GrantedAccounts(), Follower: follower, Limiter: limiter, Logger: o.Logger, Metrics: accessMetrics,
	})
	recorder := audit.New(audit.Options{JetStream: js, Secret: o.secret(), Now: o.Now, Logger: o.Logger, Metrics: audit.NewMetrics(o.Registry)})
	rules, rights := o.rules()
	answers, err := responder.New(responder.Options{
		Conn: conns.auth, Keys: o.Keys, AllowPlain: o.AllowPlain, Workers: o.Workers, Now: o.Now, Logger: o.Logger,
		Metrics: responder.NewMetrics(o.Registry),
		Decider: decision.New(decision.Options{
			Verifier: s.verifier, Rules: rules, Rights: rights, Access: follower, Limiter: limiter, Recorder: recorder,
		}),
		Ready: func() bool { return follower.Ready() && (s.keys.Ready() || o.Introspection != nil) },
	})
	if err != nil {
		return fmt.Errorf("auth callout: %w", err)
	}

	s.answers.Store(answers)

	var g run.Group
	untilTold, told := context.WithCancel(ctx)
	g.Add(func() error { <-untilTold.Done(); return nil }, func(error) { told() })
	// The others are ended in their order, each one before the next.
	working := context.WithoutCancel(ctx)
	actor := func(f func(context.Context) error) {
		ctx, cancel := context.WithCancel(working)
		ended := make(chan struct{})
		g.Add(func() error { defer close(ended); return f(ctx) }, func(error) { cancel(); <-ended })
	}
	actor(answers.Run)
	actor(recorder.Run)
	actor(connections.Run)
	actor(follower.Run)
	actor(s.keys.Run)
	if o.ListenAddr != "" {
		actor(func(ctx context.Context) error { return s.serve(ctx, answers, follower) })
	}
	if err := g.Run(); err != nil {
		return fmt.Errorf("auth callout: %w", err)
	}
	return nil
}

// connections of a replica, one in each account.
type connections struct{ auth, log, system *nats.Conn }

func (s *Service) connect() (c connections, err error) {
	for _, to := range []struct {
		conn    **nats.Conn
		account string
		login   Login
	}{
		{&c.auth, eventlog.AccountAuth, s.options.Auth},
		{&c.log, eventlog.AccountFleet, s.options.Log},
		{&c.system, eventlog.AccountSystem, s.options.System},
	} {
		logger := s.options.Logger.With("account", to.account)
		*to.conn, err = nats.Connect(s.options.URL, append([]nats.Option{
			nats.Name("fleet-callout"), nats.UserInfo(to.login.User, to.login.Password), nats.CustomInboxPrefix(eventlog.CalloutInboxPrefix),
			nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(250 * time.Millisecond),
			nats.PingInterval(10 * time.Second),
			nats.ConnectHandler(func(*nats.Conn) { logger.Info("connected to NATS") }),
			nats.ReconnectHandler(func(*nats.Conn) { logger.Info("connected to NATS again") }),
			nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
				if !nc.IsClosed() { // by ourselves
					logger.Warn("the connection to NATS was lost", "error", err)
				}
			}),
			nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { logger.Warn("NATS cannot be reached", "error", err) }),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				logger.Error("NATS refuses what the callout does", "error", err)
			}),
		}, s.options.NATSOptions...)...)
		if err != nil {
			c.close()
			return c, fmt.Errorf("connect to account %s: %w", to.account, err)
		}
	}
	return c, nil
}

func (c connections) close() {
	for _, nc := range []*nats.Conn{c.auth, c.log, c.system} {
		if nc != nil {
			nc.Close()
		}
	}
}

// serve tells metrics and health.
func (s *Service) serve(ctx context.Context, answers *responder.Responder, follower *access.Follower) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.options.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case !follower.Ready():
			http.Error(w, "the events of access are not read, or not since long ago", http.StatusServiceUnavailable)
		case !s.keys.Ready() && s.options.Introspection == nil:
			http.Error(w, "the identity provider's keys are not read, or not since long ago", http.StatusServiceUnavailable)
		case !answers.Subscribed():
			http.Error(w, "the replica does not answer itself", http.StatusServiceUnavailable)
		default:
			_, _ = fmt.Fprintln(w, "ok")
		}
	})
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", s.options.ListenAddr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { // ends with Serve
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
