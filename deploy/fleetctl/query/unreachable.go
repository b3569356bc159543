package query

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
)

// unreachable is the error of a connection that did not come about, with what to try against
// its cause.
func (t Target) unreachable(err error) error {
	plain := "nats://…"
	if t.webSocket() {
		plain = "ws://…"
	}
	try := "is the server up? For a local fleet: fleet-dev up, then read .fleet/env again"
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	switch text := err.Error(); {
	case errors.As(err, &authority):
		try = "--ca-file (or $FLEET_NATS_CA): a PEM file with the CA that signed the servers' certificate"
	case errors.As(err, &host):
		try = "a --url by a name that the servers' certificate has: " + names(host.Certificate)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		try = "renew the servers' certificate (docs/operations.md), or look at this machine's clock"
	case strings.Contains(text, "rootCA file"), strings.Contains(text, "root certificate"): // nats.go, RootCAs
		try = "a PEM file of CAs that can be read: --ca-file, or $FLEET_NATS_CA"
	case errors.Is(err, nats.ErrSecureConnWanted):
		try = "the server is up and has no TLS: --url nats://…, without --ca-file"
	case errors.As(err, &record):
		try = "the server is up and has no TLS at this port: another port, or --url " + plain
	case t.webSocket() && strings.Contains(text, "malformed HTTP"):
		err = errors.New("what listens there is no WebSocket") // the rest is the server's greeting
		try = "the port at which the servers take WebSockets, or --url nats://… or tls://… for this one"
	}
	return cli.Failed(fmt.Errorf("connect to %s: %w", contexts.Context{URL: t.URL}.Servers(), err), try)
}

// webSocket says whether the servers are reached by WebSockets.
func (t Target) webSocket() bool {
	u, err := url.Parse(strings.TrimSpace(strings.Split(t.URL, ",")[0]))
	return err == nil && (u.Scheme == "ws" || u.Scheme == "wss")
}

// names are the hosts for which a certificate is.
func names(c *x509.Certificate) string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "it has none"
	}
	return strings.Join(all, ", ")
}
