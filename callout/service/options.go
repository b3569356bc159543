// Package service runs one replica of the auth callout: it wires what verifies,
// decides, answers, follows and records, and tells its health.
package service

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/access"
	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/token"
	"fleet.nationtech.io/eventlog"
)

// Login is a user of NATS and its password.
type Login struct{ User, Password string }

// Role is what a role of our project makes of its bearer, and what that may do.
type Role struct {
	identity.Role
	callout.Right
}

// Options of a replica. Zero values of the last block mean the defaults.
type Options struct {
	URL         string
	NATSOptions []nats.Option // TLS
	Auth        Login         // in account AUTH: answers
	Log         Login         // in account FLEET: reads and records events
	System      Login         // in the system account: ends connections
	Keys        responder.Keys
	AllowPlain  bool

	Issuer           string
	IssuerCA         []byte // PEM; empty: the system's
	Project          string
	Algorithms       []string
	KeysURL          string
	IntrospectionURL string
	Introspection    token.Credentials // nil: opaque tokens are refused

	DeviceOrganization string
	DeviceRole         string
	DeviceID           identity.Source
	Organizations      []string // that grant roles to persons and services
	Roles              []Role

	ListenAddr      string // of /metrics, /healthz and /readyz; empty for none
	ProviderTimeout time.Duration
	KeysMinInterval time.Duration
	KeysMaxAge      time.Duration
	Grace           time.Duration // without the log
	Workers         int
	Now             func() time.Time
	Logger          *slog.Logger
	Registry        *prometheus.Registry
}

// DefaultRoles are those of a project as docs/identity.md sets it up.
func DefaultRoles() []Role {
	role := func(name string, k identity.Kind, l callout.Level) Role {
		return Role{identity.Role{Name: name, Kind: k}, callout.Right{Level: l}}
	}
	return []Role{
		role("viewer", identity.Person, callout.Viewer),
		role("operator", identity.Person, callout.Operator),
		role("admin", identity.Person, callout.Admin),
		role("service-viewer", identity.Service, callout.Viewer),
		role("service-operator", identity.Service, callout.Operator),
	}
}

// ParseRoles reads roles: name=kind:level[:namespace+namespace], separated by
// commas, such as operator=person:operator,shop=person:operator:shop+bar.
func ParseRoles(s string) ([]Role, error) {
	var roles []Role
	seen := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		name, is, ok := strings.Cut(strings.TrimSpace(part), "=")
		f := strings.Split(is, ":")
		if !ok || name == "" || len(f) < 2 || len(f) > 3 {
			return nil, fmt.Errorf("role %q must be name=kind:level or name=kind:level:namespace+namespace, such as operator=person:operator", part)
		}
		if seen[name] {
			return nil, fmt.Errorf("role %q is there twice", name)
		}
		seen[name] = true
		kind := identity.Kind(f[0])
		if kind != identity.Person && kind != identity.Service {
			return nil, fmt.Errorf("role %q: kind %q must be person or service", name, f[0])
		}
		level, err := callout.ParseLevel(f[1])
		if err != nil {
			return nil, fmt.Errorf("role %q: %w", name, err)
		}
		r := Role{identity.Role{Name: name, Kind: kind}, callout.Right{Level: level}}
		if len(f) == 3 {
			if level != callout.Operator {
				return nil, fmt.Errorf("role %q: namespaces limit an operator alone", name)
			}
			r.Namespaces = strings.Split(f[2], "+")
			if err := checkNamespaces(r.Namespaces); err != nil {
				return nil, fmt.Errorf("role %q: %w", name, err)
			}
		}
		roles = append(roles, r)
	}
	return roles, nil
}

func checkNamespaces(names []string) error {
	for _, n := range names {
		if err := eventlog.CheckName("namespace", n); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options) check() error {
	var errs []error
	need := func(ok bool, sentence string) {
		if !ok {
			errs = append(errs, errors.New(sentence))
		}
	}
	need(o.URL != "", "no NATS URL")
	for account, l := range map[string]Login{"AUTH": o.Auth, "FLEET": o.Log, "SYS": o.System} {
		need(l.User != "" && l.Password != "", "no user or no password in account "+account)
	}
	need(o.DeviceOrganization != "", "no organization of the devices: no token could be a device's")
	for _, org := range o.Organizations {
		need(org != o.DeviceOrganization, "the devices' organization cannot also grant roles to persons: an account that manages devices would manage people")
	}
	need(len(o.Organizations) > 0 || len(o.Roles) == 0, "there are roles, and no organization that may grant them")
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if o.DeviceRole != "" {
		for _, r := range o.Roles {
			if r.Name == o.DeviceRole {
				return fmt.Errorf("role %q cannot be that of devices and of a %s", r.Name, r.Kind)
			}
		}
	}
	if o.Grace == 0 {
		o.Grace = access.DefaultGrace
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	return nil
}

// client is the HTTP client that trusts the issuer's CA.
func (o *Options) client() (*http.Client, error) {
	if len(o.IssuerCA) == 0 {
		return &http.Client{}, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(o.IssuerCA) {
		return nil, errors.New("the issuer's CA file has no certificate in PEM")
	}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}, nil
}

// secret is what all replicas share and nobody else knows.
func (o *Options) secret() []byte {
	sum := sha256.Sum256(append([]byte("fleet-callout: ids of events\n"), o.Keys.Issuers[0]...))
	return sum[:]
}

func (o *Options) rules() (identity.Rules, map[string]callout.Right) {
	r := identity.Rules{
		DeviceOrganization: o.DeviceOrganization, DeviceRole: o.DeviceRole, DeviceID: o.DeviceID, Organizations: o.Organizations,
	}
	rights := map[string]callout.Right{}
	for _, role := range o.Roles {
		r.Roles = append(r.Roles, role.Role)
		rights[role.Name] = role.Right
	}
	return r, rights
}
