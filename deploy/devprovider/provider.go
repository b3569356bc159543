// Package devprovider is an OpenID provider that speaks Zitadel's dialect, for
// development and tests. It keeps all in memory, which State gives, asks nobody for
// a password, and must never guard anything: its log and its discovery document say so.
package devprovider

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Warning is what the provider says of itself, in its log and in its discovery
// document.
const Warning = "This OpenID provider is for development. It asks nobody for a password. Do not use it to guard anything."

// Defaults of Options, as Zitadel has them.
const (
	DefaultListen          = "127.0.0.1:0"
	DefaultTokenLifetime   = 12 * time.Hour
	DefaultRefreshLifetime = 90 * 24 * time.Hour
	DefaultCodeLifetime    = 5 * time.Minute
	DefaultPollInterval    = 5 * time.Second

	maxAssertionAge    = time.Hour
	assertionTolerance = time.Second
	shutdownTimeout    = 5 * time.Second
)

// Options configure a Provider. All may be left out.
type Options struct {
	Listen string // host:port; the host becomes part of the issuer
	// Listener is what the provider serves on, in place of one that it opens at Listen.
	Listener net.Listener
	// Certificate makes the provider serve https; without it the issuer is http.
	Certificate *tls.Certificate
	// TokenLifetime is how long access tokens hold.
	TokenLifetime time.Duration
	// RefreshLifetime is how long a login holds, however often it is refreshed.
	RefreshLifetime time.Duration
	// Lag is how long a new user, key or grant stays unseen by the token endpoint,
	// as in a server whose projections lag.
	Lag          time.Duration
	CodeLifetime time.Duration // of the device flow's codes
	PollInterval time.Duration // of the device flow
	State        []byte        // what another provider's State gave; empty: nothing is known yet
	Logger       *slog.Logger
}

// Provider is the server, and the directory of whom it knows. Its methods may be
// used from several goroutines, also while Run works.
type Provider struct {
	options   Options
	directory *directory
	keys      *keyring
	faults    *faults
	ready     chan struct{}
	issuer    string // set before ready is closed
}

// New validates and wires. It touches neither network nor disk.
func New(o Options) (*Provider, error) {
	if o.Listener != nil {
		o.Listen = o.Listener.Addr().String()
	}
	if o.Listen == "" {
		o.Listen = DefaultListen
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return nil, fmt.Errorf("listen %q must be host:port: %w", o.Listen, err)
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&o.TokenLifetime, DefaultTokenLifetime},
		{&o.RefreshLifetime, DefaultRefreshLifetime},
		{&o.CodeLifetime, DefaultCodeLifetime},
		{&o.PollInterval, DefaultPollInterval},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Provider{options: o, directory: newDirectory(o.Lag), keys: &keyring{}, faults: &faults{}, ready: make(chan struct{})}
	if len(o.State) == 0 {
		return p, p.keys.rotate(jose.RS256, false)
	}
	if err := p.restore(o.State); err != nil {
		return nil, fmt.Errorf("development provider: its state cannot be read: %w", err)
	}
	return p, nil
}

// Ready is closed once the provider listens; then Issuer is known.
func (p *Provider) Ready() <-chan struct{} { return p.ready }

// Issuer is the provider's address and name. It is empty before Ready.
func (p *Provider) Issuer() string {
	select {
	case <-p.ready:
		return p.issuer
	default:
		return ""
	}
}

// Run serves until the context ends; then it returns nil.
func (p *Provider) Run(ctx context.Context) error {
	l := p.options.Listener
	if l == nil {
		var err error
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", p.options.Listen); err != nil {
			return fmt.Errorf("development provider: listen: %w", err)
		}
	}
	host, _, _ := net.SplitHostPort(p.options.Listen)
	if host == "" {
		host = "localhost"
	}
	scheme := "http"
	if p.options.Certificate != nil {
		scheme = "https"
		l = tls.NewListener(l, &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*p.options.Certificate}, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	issuer := url.URL{Scheme: scheme, Host: net.JoinHostPort(host, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))}
	p.issuer = issuer.String()
	handler, err := p.handler()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	p.options.Logger.Warn(Warning, "issuer", p.issuer)
	close(p.ready)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(p.options.Logger.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		err := server.Shutdown(brief)
		if err != nil {
			err = server.Close() // a request that a fault holds
		}
		ended <- err
	})
	err = server.Serve(l)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("development provider: serve: %w", err)
	}
	return <-ended
}

// handler is the whole server: who asks for another host is not served, a fault
// that is switched on comes next, and what differs from the library is ours.
func (p *Provider) handler() (http.Handler, error) {
	store := &storage{Provider: p}
	config := &op.Config{
		CodeMethodS256: true, AuthMethodPrivateKeyJWT: true, GrantTypeRefreshToken: true,
		SupportedScopes: supportedScopes(),
		DeviceAuthorization: op.DeviceAuthorizationConfig{
			Lifetime: p.options.CodeLifetime, PollInterval: p.options.PollInterval, UserFormPath: devicePath, UserCode: op.UserCodeBase20,
		},
	}
	if _, err := rand.Read(config.CryptoKey[:]); err != nil {
		return nil, err
	}
	options := []op.Option{
		op.WithCustomAuthEndpoint(op.NewEndpoint(authorizePath)),
		op.WithCustomTokenEndpoint(op.NewEndpoint(tokenPath)),
		op.WithCustomIntrospectionEndpoint(op.NewEndpoint("/oauth/v2/introspect")),
		op.WithCustomRevocationEndpoint(op.NewEndpoint("/oauth/v2/revoke")),
		op.WithCustomDeviceAuthorizationEndpoint(op.NewEndpoint("/oauth/v2/device_authorization")),
		op.WithCustomKeysEndpoint(op.NewEndpoint(keysPath)),
		op.WithCustomUserinfoEndpoint(op.NewEndpoint("/oidc/v1/userinfo")),
		op.WithCustomEndSessionEndpoint(op.NewEndpoint("/oidc/v1/end_session")),
	}
	if p.options.Certificate == nil {
		options = append(options, op.WithAllowInsecure())
	}
	library, err := op.NewProvider(config, store, op.StaticIssuer(p.issuer), options...)
	if err != nil {
		return nil, fmt.Errorf("development provider: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", library)
	mux.Handle("POST "+tokenPath, &grant{Provider: p, library: library, storage: store})
	mux.Handle("GET "+discoveryPath, discovery{library})
	mux.Handle(devicePath, devicePage{p})
	mux.Handle(loginPath, loginPage{p})
	(&management{Provider: p, library: library}).register(mux)
	for _, path := range []string{"/debug/healthz", "/debug/ready"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	}
	return p.onlyHost(p.faults.before(mux)), nil
}

// onlyHost serves the issuer's host alone: the host picks the instance.
func (p *Provider) onlyHost(next http.Handler) http.Handler {
	u, _ := url.Parse(p.issuer) // made by us
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != u.Host {
			http.Error(w, fmt.Sprintf("instance not found for host %.200q: ask %s", r.Host, p.issuer), http.StatusNotFound)
			return
		}
		next.ServeHTTP(w, r)
	})
}
