// Package query asks the fleet: by which connection, for which events and devices, at
// which moment.
package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/contexts"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// The environment, as fleet-dev writes it.
const (
	EnvURL      = "FLEET_NATS_URL"
	EnvUser     = "FLEET_NATS_USER"
	EnvPassword = "FLEET_NATS_PASSWORD"
)

// Connection is a person's way into the fleet: into account PEOPLE, or as an admin into
// account FLEET.
type Connection struct {
	// Find finds the target at the first use; nil: Target stands already.
	Find func() (Target, error)
	Target
	// Self is who the servers say that this is, once it is connected: User is that of
	// the target where they do not say, and Account empty.
	Self Self
	// Until ends what waits for the provider; nil: its own timeout does.
	Until context.Context

	found   bool
	mu      sync.Mutex
	refused []context.CancelFunc // of those who wait for the log
}

const (
	connectTimeout = 5 * time.Second
	// loginTimeout is how long a connection waits for a token.
	loginTimeout = 40 * time.Second
	// reconnects is how often, a second apart, a connection that broke is tried
	// again by what reads and ends. What follows tries for ever.
	reconnects = 5
	// refusedDelay is between two attempts of what follows, while the servers refuse
	// the login. They take some 20 attempts a minute of one identity.
	refusedDelay = 5 * time.Second
)

// Open connects, for what comes to an end. Its errors say what to try.
func (c *Connection) Open() (*nats.Conn, jetstream.JetStream, error) {
	return c.connect(connectTimeout, func(string, ...any) {}, nats.MaxReconnects(reconnects), nats.IgnoreAuthErrorAbort())
}

// OpenTo connects, to follow or for what comes to an end.
func (c *Connection) OpenTo(s cli.Streams, follow bool) (*nats.Conn, jetstream.JetStream, error) {
	if follow {
		return c.openToFollow(s)
	}
	return c.Open()
}

// openToFollow connects, for what goes on until a person ends it: it survives any
// outage, refusals and the end of its token, and says on a terminal that there is an
// outage. A refusal it says anywhere: that may last.
func (c *Connection) openToFollow(s cli.Streams) (*nats.Conn, jetstream.JetStream, error) {
	say := func(format string, args ...any) {
		if s.ErrTerminal {
			s.Warn(format, args...)
		}
	}
	var f follower
	return c.connect(connectTimeout, s.Warn, nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(f.delay),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil && !f.renewing.Load() {
				say("The connection to %s broke (%v); trying until it is back. Ctrl-C ends.\n", c.Servers(), err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.refuse(err)
			switch {
			case errors.Is(err, nats.ErrAuthExpired):
				f.renewing.Store(true) // the next token is at hand
			case errors.Is(err, nats.ErrAuthorization) && !f.refused.Swap(true):
				s.Warn("%s refuses %s: access may be revoked, or no auth callout answers; trying until it is let in. Ctrl-C ends.\n", c.Servers(), c.User)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			if renewing := f.renewing.Swap(false); f.refused.Swap(false) {
				s.Warn("Connected again.\n")
			} else if !renewing {
				say("Connected again.\n")
			}
		}))
}

// follower is what is known of a connection that follows.
type follower struct {
	renewing atomic.Bool // it ended with its token, as it should
	refused  atomic.Bool // the servers refuse it
}

func (f *follower) delay(int) time.Duration {
	if f.refused.Load() {
		return refusedDelay
	}
	return time.Second
}

// OpenOnce connects within a time, and does not connect again.
func (c *Connection) OpenOnce(timeout time.Duration) (*nats.Conn, jetstream.JetStream, error) {
	return c.connect(timeout, func(string, ...any) {}, nats.NoReconnect())
}

// Servers are the servers' URLs without a secret.
func (c *Connection) Servers() string { return contexts.Context{URL: c.URL}.Servers() }

// find finds the target, once.
func (c *Connection) find() error {
	if c.Find == nil || c.found {
		return nil
	}
	t, err := c.Find()
	if err != nil {
		return err
	}
	c.Target, c.found = t, true
	return nil
}

// connect connects. say tells a person what they should know meanwhile.
func (c *Connection) connect(timeout time.Duration, say func(string, ...any), o ...nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	if err := c.find(); err != nil {
		return nil, nil, err
	}
	if c.URL == "" {
		try := "fleet-dev up, and in this shell: set -a; . .fleet/env; set +a"
		if file := localEnv(); file != "" {
			try = "set -a; . " + file + "; set +a"
		}
		return nil, nil, cli.Misused(errors.New("no NATS server is given: neither --url nor $"+EnvURL+", and no context is selected"), try+"; or fleetctl login, or fleetctl context add")
	}
	if err := c.check(); err != nil {
		return nil, nil, err
	}
	if c.Tokens != nil {
		if err := c.ready(timeout); err != nil {
			return nil, nil, c.loginFailed(err)
		}
	}
	nc, err := c.dial(timeout, o)
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		return nil, nil, c.refusal(c.Servers())
	case err != nil:
		return nil, nil, c.unreachable(err)
	}
	if c.Tokens != nil {
		keeping, stop := context.WithCancel(context.Background())
		nc.SetClosedHandler(func(*nats.Conn) { stop() })
		if nc.IsClosed() { // before it could be told
			stop()
		}
		go c.Tokens.Keep(keeping, func(err error) { say("The next token: %v. The present one still holds; try: fleetctl login\n", err) })
	}
	js, err := c.jetStream(nc)
	if err != nil {
		nc.Close()
		return nil, nil, cli.Failed(fmt.Errorf("connect to %s: %w", c.Servers(), err), "")
	}
	return nc, js, nil
}

// ready waits for a token.
func (c *Connection) ready(timeout time.Duration) error {
	ctx := c.Until
	if ctx == nil {
		ctx = context.Background()
	}
	if timeout >= connectTimeout {
		timeout = loginTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.Tokens.Ready(ctx)
}

// dial connects as each of the users that the target may be, until the servers let
// it hear their answers.
func (c *Connection) dial(timeout time.Duration, o []nats.Option) (*nats.Conn, error) {
	for _, actor := range c.actors() {
		options := append([]nats.Option{
			nats.Name("fleetctl"), nats.Timeout(timeout), nats.ReconnectWait(time.Second), nats.ReconnectJitter(0, 0),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.refuse(err) }),
		}, append(c.options(actor), o...)...)
		nc, err := c.dialOnce(options)
		if err != nil {
			return nil, err
		}
		handler, violated := nc.ErrorHandler(), make(chan error, 1)
		nc.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case violated <- err:
			default: // the first is enough
			}
		})
		who, err := askSelf(nc, violated)
		nc.SetErrorHandler(handler)
		if errors.Is(err, errOthersInbox) && c.Tokens != nil {
			nc.Close()
			continue
		}
		if err != nil {
			who = Self{User: actor} // as good as can be known
		}
		if c.Self = who; who.User != "" {
			c.User = who.User
		}
		return nc, nil
	}
	return nil, fmt.Errorf("the servers take this login for none of the users %q", c.actors())
}

// dialOnce connects. A server that refuses a token may close the connection before it
// has said so: then it is asked again.
func (c *Connection) dialOnce(options []nats.Option) (nc *nats.Conn, err error) {
	const tries = 3
	for range tries {
		nc, err = nats.Connect(c.URL, options...)
		if c.Tokens == nil || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			break
		}
	}
	return nc, err
}

// Permitted gives a context that ends when the server refuses the log, or an event of
// it, to the user. To anyone who asked it says nothing, so they would wait for long.
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
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	needed := []string{"." + eventlog.LogStream, strings.TrimSuffix(eventlog.LogSubjects, ">"), eventlog.StreamDeleteAPI("")}
	if !slices.ContainsFunc(needed, func(s string) bool { return strings.Contains(err.Error(), s) }) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.refused {
		cancel()
	}
}

// Refused says whether the server refused a subject to a connection's user, other than
// that on which it asks who it is: that can be done without.
func Refused(nc *nats.Conn) bool {
	last := nc.LastError()
	return errors.Is(last, nats.ErrPermissionViolation) && !strings.Contains(last.Error(), eventlog.UserInfoAPI)
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
	case Refused(nc):
		return cli.Failed(fmt.Errorf("user %q may not do this: %w", c.User, last), moreRights)
	case errors.Is(err, context.Canceled):
		return cli.Interrupted("")
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		return cli.Failed(fmt.Errorf("%w: the servers run without JetStream, or the account of user %q has no event log", err, c.User), moreRights)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return cli.Failed(fmt.Errorf("%w: this server has no event log yet", err), "start an operator: it makes the log")
	case errors.Is(err, reader.ErrLogReset):
		return cli.Failed(err, "run the same command again: it reads the log that is there now")
	case errors.Is(err, nats.ErrConnectionClosed), !nc.IsConnected():
		return cli.Failed(fmt.Errorf("the connection to %s broke and did not come back within %v: %w", c.Servers(), reconnects*time.Second, err),
			"run the same command again once the server is up; for a local fleet: fleet-dev up")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return cli.Failed(fmt.Errorf("the server did not answer in time: %w", err), "run the same command again; if the error stays, look at the server's health: nats server check jetstream")
	}
	return cli.Failed(err, "")
}
