package fleetctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
)

// The environment, as fleet-dev writes it.
const (
	envURL      = "FLEET_NATS_URL"
	envUser     = "FLEET_NATS_USER"
	envPassword = "FLEET_NATS_PASSWORD"
)

// connection is a person's way into account FLEET.
type connection struct {
	url, user, password string
}

func (c *connection) bind(cmd *cobra.Command, s Streams) {
	f := cmd.PersistentFlags()
	f.StringVar(&c.url, "url", s.Getenv(envURL), "NATS server; default $"+envURL)
	f.StringVar(&c.user, "user", s.Getenv(envUser), "user in account FLEET; default $"+envUser)
	f.StringVar(&c.password, "password", "", "its password; default $"+envPassword)
	f.Lookup("url").DefValue, f.Lookup("user").DefValue = "", ""
	cmd.PersistentPreRun = func(*cobra.Command, []string) {
		if !f.Changed("password") {
			c.password = s.Getenv(envPassword)
		}
	}
}

const connectTimeout = 5 * time.Second

// open connects. Its errors say what to try.
func (c *connection) open() (*nats.Conn, jetstream.JetStream, error) {
	if c.url == "" {
		try := "fleet-dev up, and in this shell: set -a; . .fleet/env; set +a"
		if file := localEnv(); file != "" {
			try = "set -a; . " + file + "; set +a"
		}
		return nil, nil, misused(errors.New("no NATS server is given: neither --url nor $"+envURL), try)
	}
	nc, err := nats.Connect(c.url,
		nats.Name("fleetctl"), nats.UserInfo(c.user, c.password), nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1), nats.ReconnectWait(time.Second),
		// What permissions refuse shows as a timeout of what asked; the reason
		// is asked for there.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	switch {
	case errors.Is(err, nats.ErrAuthorization):
		return nil, nil, failed(fmt.Errorf("connect to %s as %q: the server does not know this user or password", c.url, c.user),
			"a user of account FLEET by --user and --password, or read .fleet/env again: passwords change with the data directory")
	case err != nil:
		return nil, nil, failed(fmt.Errorf("connect to %s: %w", c.url, err),
			"is the server up? For a local fleet: fleet-dev up, then read .fleet/env again")
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, failed(fmt.Errorf("connect to %s: %w", c.url, err), "")
	}
	return nc, js, nil
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

// explain turns an error of the log into one that says what to try.
func (c *connection) explain(err error, nc *nats.Conn) error {
	last := nc.LastError()
	switch {
	case errors.Is(err, context.Canceled):
		return failed(errors.New("interrupted"), "")
	case errors.Is(last, nats.ErrPermissionViolation):
		return failed(fmt.Errorf("%w: user %q may not do this: %w", err, c.user, last), "a user of account FLEET with more rights, by --user")
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		return failed(fmt.Errorf("%w: the account of user %q has no event log", err, c.user), "a user of account FLEET: devices' users cannot read the log")
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return failed(fmt.Errorf("%w: this server has no event log yet", err), "start an operator: it makes the log")
	}
	return failed(err, "")
}
