package bus

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// probeInterval is between two looks once the device had a connection: a fleet
	// that comes back after an outage must not shake hands twice as often.
	probeInterval = time.Minute
	maxInfo       = 64 << 10
)

// probe says when to look at the servers' certificates beside the NATS client,
// which tells of no failed TLS handshake but the first one. Without it a device
// would neither learn that its clock is behind, when its network came later than
// the agent, nor say in its log that a certificate has expired.
type probe struct {
	mu     sync.Mutex
	before bool // there was a connection
	last   time.Time
	busy   bool
}

func (p *probe) connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = true
}

func (p *probe) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy || p.before && now.Sub(p.last) < probeInterval {
		return false
	}
	p.busy, p.last = true, now
	return true
}

func (p *probe) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
}

// look shakes hands with each server once, shows nothing, and logs what fails.
func (d *Dialer) look(nc *nats.Conn) {
	defer d.probe.done()
	for _, server := range d.config.NATS.Servers() {
		u, err := url.Parse(server)
		if err != nil || u.Scheme == "ws" || u.Scheme == "nats" && d.config.NATS.CAFile == "" {
			continue // no TLS
		}
		if err := d.handshake(u); err != nil && nc.IsReconnecting() && !d.learn(nc, err) {
			d.logger.Warn("no TLS connection to NATS", "server", u.Host, "error", err)
		}
	}
}

func (d *Dialer) handshake(u *url.URL) error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	port := u.Port()
	if port == "" {
		if port = "4222"; u.Scheme == "wss" {
			port = "443"
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil // the client says so itself
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	if u.Scheme != "wss" { // the server speaks first, in clear
		if _, err := bufio.NewReaderSize(conn, maxInfo).ReadSlice('\n'); err != nil {
			return fmt.Errorf("read the server's INFO: %w", err)
		}
	}
	config := d.servers.TLS()
	config.ServerName = u.Hostname()
	return tls.Client(conn, config).HandshakeContext(ctx)
}
