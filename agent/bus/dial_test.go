package bus_test

import (
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/testlog"
)

const device = "pi-01"

const onePassword = `authorization { users: [{ user: pi-01, password: right }] }`

func settings(url, password string) config.Config {
	c := config.Default()
	c.DeviceID = device
	c.NATS = config.NATS{URL: url, AllowPlaintext: true}
	c.Auth.User, c.Auth.Password = device, password
	return c
}

func connect(t *testing.T, c config.Config, logger *slog.Logger) (*nats.Conn, error) {
	t.Helper()
	credentials, err := identity.New(c, identity.Options{})
	if err != nil {
		return nil, err
	}
	d, err := bus.NewDialer(c, credentials, &trust.Clock{}, logger)
	if err != nil {
		return nil, err
	}
	return d.Dial(nil)
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	// A connection is tried again after up to 15 s, on a busy machine later.
	const timeout = time.Minute
	for deadline := time.Now().Add(timeout); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", timeout, what)
		}
		time.Sleep(5 * time.Millisecond) // poll
	}
}

func TestDialWaitsForAServerThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	srv := natstest.Start(t, natstest.Config(t, onePassword))
	address := srv.URL()
	srv.Stop()
	nc, err := connect(t, settings(address, "right"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	srv.Start()
	await(t, "a connection", nc.IsConnected)
}

func TestDialSaysThatThePasswordIsWrongAndGoesOnTrying(t *testing.T) {
	t.Parallel()
	wrong := natstest.Start(t, natstest.Config(t, `authorization { users: [{ user: pi-01, password: other }] }`))
	address := wrong.URL()
	var log testlog.Buffer
	nc, err := connect(t, settings(address, "right"), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	await(t, "a line that says why", func() bool { return strings.Contains(log.String(), "Authorization Violation") })
	await(t, "three tries more", func() bool { return nc.Stats().Reconnects > 2 })
	wrong.Stop()
	natstest.Start(t, natstest.Config(t, onePassword), func(o *server.Options) { o.Port = port(t, address) })
	await(t, "a connection, once the server knows the password", nc.IsConnected)
	nc.Close()
	await(t, "the end", nc.IsClosed)
	if strings.Contains(log.String(), "NATS is unreachable") {
		t.Error("our own closing is told as the bus being away")
	}
}

func port(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDialRefusesACAFileThatIsNotThere(t *testing.T) {
	t.Parallel()
	c := settings("tls://127.0.0.1:1", "x")
	c.NATS.CAFile = "/nonexistent/ca.pem"
	if nc, err := connect(t, c, nil); err == nil {
		nc.Close()
		t.Error("no error")
	} else if !strings.Contains(err.Error(), "ca.pem") {
		t.Errorf("error %v", err)
	}
}
