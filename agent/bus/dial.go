package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/eventlog"
)

const (
	firstReconnectWait = 250 * time.Millisecond
	maxReconnectWait   = 15 * time.Second
	pingInterval       = 30 * time.Second
	// webSocketPing is under the 30 s after which common proxies end a connection
	// on which nothing happens.
	webSocketPing = 20 * time.Second
	// dialTimeout is above what a server gives its auth callout: a client that
	// waits less hears of no refusal.
	dialTimeout = 5 * time.Second
)

// Credentials have at hand what the device shows to a server.
type Credentials interface {
	Show() (identity.Proof, error)
	Accepted(identity.Proof)
	Refused(identity.Proof)
}

// Dialer opens connections of one device.
type Dialer struct {
	config      config.Config
	credentials Credentials
	servers     *trust.Servers
	logger      *slog.Logger
	probe       probe
}

// NewDialer reads the CA file that the configuration names. It fails where that
// cannot be used.
func NewDialer(c config.Config, credentials Credentials, clock *trust.Clock, logger *slog.Logger) (*Dialer, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	servers, err := trust.New(clock, c.NATS.CAFile)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return &Dialer{config: c, credentials: credentials, servers: servers, logger: logger}, nil
}

// Dial opens a connection. It returns after at most one try of each server, also
// where none can be reached, and the connection tries for ever: a device may be
// switched on long before its network. shown holds what was shown last; it may be
// nil. The caller closes the connection.
func (d *Dialer) Dial(shown *atomic.Pointer[identity.Proof]) (*nats.Conn, error) {
	if shown == nil {
		shown = &atomic.Pointer[identity.Proof]{}
	}
	c, log := d.config, d.logger
	show := func() identity.Proof {
		p, err := d.credentials.Show()
		if err != nil {
			p = identity.Proof{} // it ended since the gate looked; the server refuses it
		}
		shown.Store(&p)
		return p
	}
	accepted := func() {
		d.probe.connected()
		if p := shown.Load(); p != nil {
			d.credentials.Accepted(*p)
		}
	}
	var open atomic.Pointer[nats.Conn]
	options := []nats.Option{
		nats.Name("fleet-agent " + c.DeviceID),
		// The device may listen on its own inbox only; the default is everybody's.
		nats.CustomInboxPrefix(eventlog.InboxPrefix(c.DeviceID)),
		nats.Timeout(dialTimeout),
		nats.SetCustomDialer(gate{d.credentials}),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		// Without it two equal refusals end the connection for good, and what is
		// refused now may be right later.
		nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			if nc := open.Load(); nc != nil && d.probe.due(time.Now()) {
				go d.look(nc)
			}
			return reconnectDelay(attempts)
		}),
		nats.PingInterval(pingInterval),
		// What is said while there is no connection is said again by anyone who said
		// it, as it is then. An old pulse would be a lie.
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrAuthorization) && sub == nil {
				d.refused(shown.Load(), err)
				return
			}
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			log.Warn("NATS reports an error", "subject", subject, "error", err)
		}),
		nats.ConnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS", "server", nc.ConnectedUrlRedacted())
			accepted()
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("reconnected to NATS", "server", nc.ConnectedUrlRedacted())
			accepted()
		}),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if nc.IsClosed() {
				return // by ourselves
			}
			log.Warn("NATS is unreachable; containers keep running", "error", err)
		}),
		nats.ReconnectErrHandler(func(nc *nats.Conn, err error) { d.failed(nc, shown.Load(), err) }),
		secured(d.servers.TLS(), c.NATS.CAFile != ""),
	}
	if c.NATS.WebSocket() {
		options = append(options, nats.PingInterval(webSocketPing))
	}
	switch {
	case c.Auth.Mode == config.ModeZitadelJWT:
		options = append(options, nats.TokenHandler(func() string { return show().Token }))
	case c.Auth.User != "":
		options = append(options, nats.UserInfoHandler(func() (user, password string) {
			p := show()
			return p.User, p.Password
		}))
	}
	nc, err := nats.Connect(c.NATS.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	open.Store(nc)
	return nc, nil
}

// refused hears that a server did not take what was shown.
func (d *Dialer) refused(shown *identity.Proof, err error) {
	d.logger.Warn("NATS refuses the device", "error", err)
	if shown != nil {
		d.credentials.Refused(*shown)
	}
}

// failed hears why a server was not reached. The NATS client tells it of the
// first try, and later only where no TCP connection came about.
func (d *Dialer) failed(nc *nats.Conn, shown *identity.Proof, err error) {
	switch {
	case d.learn(nc, err):
	case errors.Is(err, nats.ErrAuthorization):
		d.refused(shown, err)
	default:
		d.logger.Warn("no connection to NATS yet", "error", err)
	}
}

// learn says whether the device's clock was the reason, and tries again then.
func (d *Dialer) learn(nc *nats.Conn, err error) bool {
	if !d.servers.Learn(err) {
		return false
	}
	d.logger.Warn("the device's clock is behind: a certificate of a trusted CA proves it; the certificate's first moment is taken for the time", "error", err)
	if nc.IsReconnecting() {
		_ = nc.ForceReconnect() // it fails only where the connection is closed
	}
	return true
}

// secured sets how servers are judged. With always, nothing is sent to a server
// before TLS stands, whatever the scheme of its URL.
func secured(c *tls.Config, always bool) nats.Option {
	return func(o *nats.Options) error {
		o.TLSConfig = c
		o.Secure = o.Secure || always
		return nil
	}
}

// gate lets the client dial only while there is something to show.
type gate struct{ credentials Credentials }

// Dial implements nats.CustomDialer.
func (g gate) Dial(network, address string) (net.Conn, error) {
	if _, err := g.credentials.Show(); err != nil {
		return nil, err
	}
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(context.Background(), network, address)
}

// reconnectDelay doubles up to a limit; half of it is random, so that a fleet
// does not return all at once.
func reconnectDelay(attempts int) time.Duration {
	d := maxReconnectWait
	if attempts < 7 {
		d = min(d, firstReconnectWait<<max(0, attempts-1))
	}
	return d/2 + rand.N(d/2)
}
