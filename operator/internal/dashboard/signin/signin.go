// Package signin signs persons in to the dashboard, by the authorization code flow of OpenID
// Connect with PKCE, and has each request come from a person. The auth callout of the NATS servers
// decides who may sign in.
package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"fleet.nationtech.io/operator/internal/dashboard/limit"
	"fleet.nationtech.io/operator/internal/dashboard/logins"
	"fleet.nationtech.io/operator/internal/dashboard/session"
)

// Prefix is of all paths of the sign-in, which nobody must be signed in for.
const Prefix = "/auth/"

const (
	signInPath    = Prefix + "sign-in"
	callbackPath  = Prefix + "callback"
	signedOutPath = Prefix + "signed-out"

	// SignOutPath takes the POST by which a person signs out.
	SignOutPath = Prefix + "sign-out"

	lookPeriod    = 2 * time.Second // between two looks whether sessions in use were ended elsewhere
	lookingAtOnce = 8               // sessions that are looked for at a time for that
	unknownLooks  = 32              // looks at a time for sessions that this replica does not know
	completing    = 16              // sign-ins whose tokens are asked for at a time
	callbackRate  = 10              // answers of the provider a second
	slotTime      = 2 * time.Second // for which another one waits
	maxName       = 100             // characters of a readable name
	maxReason     = 200             // characters of a provider's reason
	maxState      = 512             // bytes of what comes with an answer of the provider
	maxCode       = 4096
	sessionLabel  = "session "
	bearerLabel   = "bearer "
)

// Options wire a SignIn.
type Options struct {
	Settings
	JS       jetstream.JetStream // in account FLEET, where sessions are kept
	Replicas int                 // of the bucket of sessions
	NATSURL  string              // of the servers to which persons log in
	NATS     []nats.Option       // by which these are trusted; no login
	Registry prometheus.Registerer
	Logger   *slog.Logger
	Now      func() time.Time
}

// SignIn signs persons in.
type SignIn struct {
	o         Options
	config    config
	provider  *provider
	sessions  *session.Store
	logins    *logins.Pool
	metrics   *metrics
	slots     limit.Slots // of sign-ins whose tokens are asked for
	looks     limit.Slots // of sessions that this replica has no connection of
	callbacks *rate.Limiter
}

// New checks the settings, reads their files, and registers metrics. It asks nobody.
func New(o Options) (*SignIn, error) {
	c, err := o.read()
	if err != nil {
		return nil, err
	}
	if o.NATSURL == "" {
		return nil, errors.New("the sign-in to the dashboard needs the URL of the NATS servers, to log persons in there")
	}
	if err := logins.CheckServers(o.NATSURL, o.NATS); err != nil {
		return nil, fmt.Errorf("the sign-in to the dashboard: %w", err)
	}
	return &SignIn{
		o: o, config: c, provider: newProvider(c, o.Logger, o.Now), sessions: session.New(o.JS, o.Replicas, o.Now),
		logins:  logins.New(logins.Options{URL: o.NATSURL, NATS: o.NATS, Registry: o.Registry, Logger: o.Logger, Now: o.Now}),
		metrics: newMetrics(o.Registry), slots: limit.NewSlots(completing),
		looks: limit.NewSlots(unknownLooks), callbacks: rate.NewLimiter(callbackRate, 3*callbackRate),
	}, nil
}

// Run closes connections of sessions that were ended elsewhere, and of those that nobody uses.
func (s *SignIn) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.logins.Run(ctx) })
	g.Go(func() error {
		if err := s.sessions.Ensure(ctx); err != nil { // it is made at the next sign-in
			s.o.Logger.Warn("cannot make the bucket of the dashboard's sessions yet", "error", err)
		}
		t := time.NewTicker(lookPeriod)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				s.endConnections(ctx)
			case <-ctx.Done():
				return nil
			}
		}
	})
	return g.Wait()
}

// endConnections ends the connections of sessions that are not there any more.
func (s *SignIn) endConnections(ctx context.Context) {
	if !s.o.JS.Conn().IsConnected() {
		return // it is asked again
	}
	var g errgroup.Group
	g.SetLimit(lookingAtOnce)
	for _, key := range s.logins.Keys() {
		id, ok := sessionOf(key)
		if !ok {
			continue
		}
		g.Go(func() error {
			switch holds, err := s.sessions.Holds(ctx, id); {
			case err != nil: // it is asked again
				s.o.Logger.Debug("cannot look for a session of the dashboard", "error", err)
			case !holds:
				s.logins.End(key)
			}
			return nil
		})
	}
	_ = g.Wait() // none of them fails
}

// SameHost says whether a request calls the dashboard by the name of its address.
func (s *SignIn) SameHost(host string) bool { return s.config.sameHost(host) }

// URL is the dashboard's address.
func (s *SignIn) URL() string { return s.config.URL }

// Notice is a page that says something to a person.
type Notice struct {
	Code  int
	Title string
	Text  string
	Links []Link
}

// Link is where a person can go on.
type Link struct{ Text, Address string }

// Tell writes a notice, in the form of what was asked for.
type Tell func(http.ResponseWriter, *http.Request, Notice)
