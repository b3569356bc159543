// Package query asks the fleet: by which connection, for which events and devices, at
// which moment.
package query

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// The environment, as fleet-dev writes it.
const (
	EnvURL      = "FLEET_NATS_URL"
	EnvUser     = "FLEET_NATS_USER"
	EnvPassword = "FLEET_NATS_PASSWORD"
)

// Connection is a person's way into account FLEET.
type Connection struct {
	URL, User, Password string

	mu      sync.Mutex
	refused []context.CancelFunc // of those who wait for the log
}

const (
	connectTimeout = 5 * time.Second
	// reconnects is how often, a second apart, a connection that broke is tried
	// again by what reads and ends. What follows tries for ever.
	reconnects = 5
)

// Open connects, for what comes to an end. Its errors say what to try.
func (c *Connection) Open() (*nats.Conn, jetstream.JetStream, error) {
	return c.connect(nats.MaxReconnects(reconnects))
}

// OpenTo connects, to follow or for what comes to an end.
func (c *Connection) OpenTo(s cli.Streams, follow bool) (*nats.Conn, jetstream.JetStream, error) {
	if follow {
		return c.openToFollow(s)
	}
	return c.Open()
}

// openToFollow connects, for what goes on until a person ends it: it survives
// any outage, and says on a terminal that there is one.
func (c *Connection) openToFollow(s cli.Streams) (*nats.Conn, jetstream.JetStream, error) {
	say := func(format string, args ...any) {
		if s.ErrTerminal {
			s.Warn(format, args...)
		}
	}
	return c.connect(nats.MaxReconnects(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				say("The connection to %s broke (%v); trying until it is back. Ctrl-C ends.\n", c.URL, err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { say("Connected again.\n") }))
}

// OpenOnce connects within a time, and does not connect again.
func (c *Connection) OpenOnce(timeout time.Duration) (*nats.Conn, jetstream.JetStream, error) {
	return c.connect(nats.Timeout(timeout), nats.NoReconnect())
}

func (c *Connection) connect(o ...nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	if c.URL == "" {
		try := "fleet-dev up, and in this shell: set -a; . .fleet/env; set +a"
		if file := localEnv(); file != "" {
			try = "set -a; . " + file + "; set +a"
		}
		return nil, nil, cli.Misused(errors.New("no NATS server is given: neither --url nor $"+EnvURL), try)
	}
	o = append([]nats.Option{
		nats.Name("fleetctl"), nats.UserInfo(c.User, c.Password), nats.Timeout(connectTimeout),
		nats.ReconnectWait(time.Second), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.refuse(err) }),
	}, o...)
	nc, err := nats.Connect(c.URL, o...)
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		return nil, nil, cli.Failed(fmt.Errorf("connect to %s as %q: the server does not know this user or password", c.URL, c.User),
			"a user of account FLEET by --user and --password, or read .fleet/env again: passwords change with the data directory")
	case err != nil:
		return nil, nil, cli.Failed(fmt.Errorf("connect to %s: %w", c.URL, err),
			"is the server up? For a local fleet: fleet-dev up, then read .fleet/env again")
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, cli.Failed(fmt.Errorf("connect to %s: %w", c.URL, err), "")
	}
	return nc, js, nil
}

// Permitted gives a context that ends when the server refuses the log to the
// user. To whoever asked it says nothing, so they would wait for long.
func (c *Connection) Permitted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, cancel)
	return ctx, cancel
}

// refuse is told of errors that belong to no one request. What permissions refuse
// elsewhere than at the log may be something that can be done without, but for the
// end of a bucket.
func (c *Connection) refuse(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) ||
		!strings.Contains(err.Error(), "."+eventlog.LogStream) && !strings.Contains(err.Error(), eventlog.StreamDeleteAPI("")) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.refused {
		cancel()
	}
}

// localEnv finds the environment of a local fleet at or above the working
// directory, for the message alone.
func localEnv() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		file := filepath.Join(dir, ".fleet", "env")
		if _, err := os.Stat(file); err == nil {
			return file
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// Explain turns an error of the log into one that says what to try.
func (c *Connection) Explain(err error, nc *nats.Conn) error {
	var f *cli.Failure
	if errors.As(err, &f) {
		return err // it says so already
	}
	if explained := explainMoment(err); explained != nil {
		return explained
	}
	last := nc.LastError()
	switch {
	case errors.Is(last, nats.ErrPermissionViolation):
		return cli.Failed(fmt.Errorf("user %q may not do this: %w", c.User, last), "a user of account FLEET with more rights, by --user")
	case errors.Is(err, context.Canceled):
		return cli.Interrupted("")
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		return cli.Failed(fmt.Errorf("%w: the account of user %q has no event log", err, c.User), "a user of account FLEET: devices' users cannot read the log")
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return cli.Failed(fmt.Errorf("%w: this server has no event log yet", err), "start an operator: it makes the log")
	case errors.Is(err, reader.ErrLogReset):
		return cli.Failed(err, "run the same command again: it reads the log that is there now")
	case errors.Is(err, nats.ErrConnectionClosed), !nc.IsConnected():
		return cli.Failed(fmt.Errorf("the connection to %s broke and did not come back within %v: %w", c.URL, reconnects*time.Second, err),
			"run the same command again once the server is up; for a local fleet: fleet-dev up")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return cli.Failed(fmt.Errorf("the server did not answer in time: %w", err), "run the same command again; if the error stays, look at the server's health: nats server check jetstream")
	}
	return cli.Failed(err, "")
}
