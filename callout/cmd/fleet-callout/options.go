package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/callout/identity"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/callout/token"
)

// options reads the files that the settings name.
func (s settings) options(logger *slog.Logger, registry *prometheus.Registry) (service.Options, error) {
	o := service.Options{
		URL:  s.natsURL,
		Auth: service.Login{User: s.authUser, Password: s.authPassword}, Log: service.Login{User: s.logUser, Password: s.logPassword},
		System:     service.Login{User: s.sysUser, Password: s.sysPasswd},
		AllowPlain: s.allowPlain, Issuer: s.issuer, Project: s.project, Algorithms: list(s.algorithms), KeysURL: s.keysURL,
		IntrospectionURL: s.introspectionURL, DeviceOrganization: s.deviceOrganization, DeviceRole: s.deviceRole,
		Organizations: list(s.organizations), Grace: s.grace, KeysMaxAge: s.keysMaxAge, ListenAddr: s.listen, Logger: logger, Registry: registry,
	}
	if s.issuer == "" {
		return o, errors.New("--issuer is missing: the identity provider's address, such as https://auth.example.com")
	}
	if err := s.checkURL(); err != nil {
		return o, err
	}
	if s.natsCA != "" {
		if _, err := os.Stat(s.natsCA); err != nil {
			return o, fmt.Errorf("--nats-ca-file: %w", err)
		}
		o.NATSOptions = append(o.NATSOptions, nats.RootCAs(s.natsCA))
	}
	var err error
	if o.Keys, err = s.keys(); err != nil {
		return o, err
	}
	if s.issuerCA != "" {
		if o.IssuerCA, err = os.ReadFile(s.issuerCA); err != nil {
			return o, fmt.Errorf("--issuer-ca-file: %w", err)
		}
	}
	if o.DeviceID, err = identity.ParseSource(s.deviceID); err != nil {
		return o, fmt.Errorf("--device-id: %w", err)
	}
	if o.Roles, err = service.ParseRoles(s.roles); err != nil {
		return o, fmt.Errorf("--roles: %w", err)
	}
	if s.introspectionKey != "" {
		file, err := os.ReadFile(s.introspectionKey)
		if err != nil {
			return o, fmt.Errorf("--introspection-key-file: %w", err)
		}
		key, err := token.ReadApplicationKey(file)
		if err != nil {
			return o, fmt.Errorf("--introspection-key-file: %w", err)
		}
		o.Introspection = key
	}
	return o, nil
}

// checkURL refuses to send passwords in clear to another machine. A URL with nats://
// is TLS where a CA file is given, and otherwise where the server wants it.
func (s settings) checkURL() error {
	for _, at := range list(s.natsURL) {
		u, err := url.Parse(at)
		if err != nil || u.Host == "" {
			return fmt.Errorf("--nats-url: %q is no URL such as tls://nats.example.com:4222", at)
		}
		switch u.Scheme {
		case "tls", "wss":
			continue
		case "nats", "ws":
		default:
			return fmt.Errorf("--nats-url: %q must begin with tls://, wss:// or nats://", at)
		}
		ip := net.ParseIP(u.Hostname())
		local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
		if !local && !s.allowPlaintext && (u.Scheme == "ws" || s.natsCA == "") {
			return fmt.Errorf("--nats-url: %q would send passwords without TLS: use tls://, or --nats-ca-file, or --nats-allow-plaintext", at)
		}
	}
	return nil
}

func (s settings) keys() (responder.Keys, error) {
	var k responder.Keys
	var err error
	if s.issuerSeeds == "" {
		return k, errors.New("--issuer-seed-file is missing: the seed whose public key is auth_callout.issuer in the servers' configuration")
	}
	if k.Issuers, err = seeds(s.issuerSeeds); err != nil {
		return k, fmt.Errorf("--issuer-seed-file: %w", err)
	}
	if k.XKeys, err = seeds(s.xkeySeeds); err != nil {
		return k, fmt.Errorf("--xkey-seed-file: %w", err)
	}
	return k, nil
}

// maxSeeds is the old one and the new one.
const maxSeeds = 2

func seeds(files string) ([][]byte, error) {
	var all [][]byte
	for _, file := range list(files) {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, bytes.TrimSpace(b))
	}
	if len(all) > maxSeeds {
		return nil, fmt.Errorf("%d files, at most %d are used: the old one and the new one", len(all), maxSeeds)
	}
	return all, nil
}

func list(s string) (parts []string) {
	for p := range strings.SplitSeq(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	return parts
}
