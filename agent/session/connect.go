package session

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/eventlog"
)

const (
	firstReconnectWait = 250 * time.Millisecond
	maxReconnectWait   = 15 * time.Second
	pingInterval       = 30 * time.Second
)

// Connect opens the device's connection to the bus. It returns at once, also
// where no server can be reached, and the connection tries for ever: a device
// may be switched on long before its network. It fails only where the
// configuration cannot be used, such as a CA file that is not there. The caller
// closes the connection.
func Connect(c config.Config, logger *slog.Logger) (*nats.Conn, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	options := []nats.Option{
		nats.Name("fleet-agent " + c.DeviceID),
		// The device may listen on its own inbox only; the default is everybody's.
		nats.CustomInboxPrefix(eventlog.InboxPrefix(c.DeviceID)),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a password may be set right on the server's side
		nats.CustomReconnectDelay(reconnectDelay),
		nats.PingInterval(pingInterval),
		// What is said while there is no connection is said again by whoever said
		// it, as it is then. An old pulse would be a lie.
		nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			logger.Warn("the bus reports an error", "subject", subject, "error", err)
		}),
		nats.ConnectHandler(func(nc *nats.Conn) { logger.Info("connected to the bus", "server", nc.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { logger.Info("connected to the bus again", "server", nc.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if nc.IsClosed() {
				return // by ourselves
			}
			logger.Warn("the bus is away; containers go on running", "error", err)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { logger.Warn("no connection to the bus yet", "error", err) }),
	}
	if c.NATS.CAFile != "" {
		options = append(options, nats.RootCAs(c.NATS.CAFile))
	}
	if c.Auth.User != "" {
		options = append(options, nats.UserInfo(c.Auth.User, c.Auth.Password))
	}
	nc, err := nats.Connect(c.NATS.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	return nc, nil
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
