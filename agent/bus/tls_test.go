package bus_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fleet.nationtech.io/agent/bus"
	"fleet.nationtech.io/agent/identity"
	"fleet.nationtech.io/agent/trust"
	"fleet.nationtech.io/agent/trust/trusttest"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/testlog"
)

// A device without a battery for its clock gets in, over TLS and over WebSocket,
// and nobody does whom no trusted CA signed.
func TestADeviceGetsInOverTLSWhateverItsClock(t *testing.T) {
	t.Parallel()
	today := time.Now()
	ca := trusttest.NewAuthority(t, today.AddDate(-5, 0, 0))
	certificate := ca.Sign("bus.example.org", today.AddDate(0, -1, 0), today.AddDate(0, 2, 0))
	port := natstest.FreePort(t)
	srv := natstest.Start(t, natstest.Config(t, onePassword), func(o *server.Options) {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
		o.Websocket = server.WebsocketOpts{Host: "127.0.0.1", Port: port, TLSConfig: o.TLSConfig}
	})
	direct := strings.Replace(srv.URL(), "nats://", "tls://", 1)
	webSocket := fmt.Sprintf("wss://127.0.0.1:%d", port)
	other := trusttest.NewAuthority(t, today.AddDate(-5, 0, 0)).File()
	for name, tc := range map[string]struct {
		url   string
		ca    string
		clock time.Time
		in    bool
	}{
		"TLS, a clock that is right":            {direct, ca.File(), today, true},
		"TLS, 1970":                             {direct, ca.File(), time.Unix(60, 0), true},
		"TLS, two years behind":                 {direct, ca.File(), today.AddDate(-2, 0, 0), true},
		"TLS, a certificate that has expired":   {direct, ca.File(), today.AddDate(1, 0, 0), false},
		"TLS, another CA":                       {direct, other, today, false},
		"TLS, another CA, in 1970":              {direct, other, time.Unix(60, 0), false},
		"plaintext with a CA file is TLS":       {srv.URL(), ca.File(), today, true},
		"plaintext with another CA":             {srv.URL(), other, today, false},
		"WebSocket, a clock that is right":      {webSocket, ca.File(), today, true},
		"WebSocket, 1970":                       {webSocket, ca.File(), time.Unix(60, 0), true},
		"WebSocket, another CA":                 {webSocket, other, today, false},
		"the system's CAs do not know the test": {direct, "", today, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := settings(tc.url, "right")
			c.NATS.CAFile = tc.ca
			credentials, err := identity.New(c, identity.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var log testlog.Buffer
			clock := &trust.Clock{System: func() time.Time { return tc.clock }}
			d, err := bus.NewDialer(c, credentials, clock, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			nc, err := d.Dial(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if tc.in {
				await(t, "a connection", nc.IsConnected)
				return
			}
			await(t, "three refusals", func() bool { return strings.Count(log.String(), "no TLS connection to NATS") > 2 })
			if nc.IsConnected() || strings.Contains(log.String(), "proves it") {
				t.Errorf("it is in: %s", log.String())
			}
		})
	}
}

// A device may be switched on before its network. It learns that its clock is
// behind from a later try as well.
func TestADeviceLearnsTheTimeFromALaterTryToo(t *testing.T) {
	t.Parallel()
	today := time.Now()
	ca := trusttest.NewAuthority(t, today.AddDate(-5, 0, 0))
	certificate := ca.Sign("bus.example.org", today.AddDate(0, -1, 0), today.AddDate(0, 2, 0))
	srv := natstest.Start(t, natstest.Config(t, onePassword), func(o *server.Options) {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	})
	c := settings(strings.Replace(srv.URL(), "nats://", "tls://", 1), "right")
	c.NATS.CAFile = ca.File()
	srv.Stop()
	credentials, err := identity.New(c, identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var log testlog.Buffer
	d, err := bus.NewDialer(c, credentials, &trust.Clock{System: func() time.Time { return time.Unix(60, 0) }}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := d.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	await(t, "a try without a network", func() bool { return strings.Contains(log.String(), "no connection to NATS yet") })
	srv.Start()
	await(t, "a connection", nc.IsConnected)
}
