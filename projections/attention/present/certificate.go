package present

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/projections/attention"
)

// Certificate is that which the connected server shows at a time by its clock; nil without TLS. A
// connection knows the certificate of the day on which it was made. So where that one needs a
// person, a handshake asks whether the server has been given another one since.
func Certificate(ctx context.Context, nc *nats.Conn, at time.Time) *attention.Certificate {
	state, err := nc.TLSConnectionState()
	if err != nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	if shown(state).Severity(at) == 0 {
		return shown(state)
	}
	if fresh, err := handshake(ctx, nc, state.ServerName); err == nil {
		return shown(fresh)
	}
	return shown(state) // a certificate that has ended makes no handshake
}

func shown(s tls.ConnectionState) *attention.Certificate {
	c := s.PeerCertificates[0]
	return &attention.Certificate{Begins: c.NotBefore, Ends: c.NotAfter}
}

// handshake connects to the connected server as the NATS protocol begins, with INFO and then TLS,
// and logs in to nothing. It fails where the way to the server is not that: by a WebSocket.
func handshake(ctx context.Context, nc *nats.Conn, name string) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	server, err := url.Parse(nc.ConnectedUrl())
	if err != nil {
		return tls.ConnectionState{}, err
	}
	if strings.HasPrefix(server.Scheme, "ws") {
		return tls.ConnectionState{}, net.UnknownNetworkError(server.Scheme)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c := nc.Opts.TLSConfig; c != nil {
		config = c.Clone()
	}
	if roots := nc.Opts.RootCAsCB; roots != nil {
		if config.RootCAs, err = roots(); err != nil {
			return tls.ConnectionState{}, err
		}
	}
	if config.ServerName = name; name == "" { // of an address that is no name
		config.ServerName = server.Hostname()
	}
	raw, err := dial(ctx, nc.Opts, server.Host)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer raw.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := raw.SetDeadline(deadline); err != nil {
			return tls.ConnectionState{}, err
		}
	}
	if !nc.Opts.TLSHandshakeFirst {
		if _, err := bufio.NewReader(raw).ReadString('\n'); err != nil { // INFO, after which the server waits
			return tls.ConnectionState{}, err
		}
	}
	secure := tls.Client(raw, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	return secure.ConnectionState(), nil
}

// dial connects as the connection itself was made.
func dial(ctx context.Context, o nats.Options, address string) (net.Conn, error) {
	if o.CustomDialer != nil {
		return o.CustomDialer.Dial("tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}
