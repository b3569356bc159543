package identity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"fleet.nationtech.io/callout/providertest"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/accounts/accountstest"
	"fleet.nationtech.io/deploy/dev/authority"
	"fleet.nationtech.io/deploy/rolling"
	"fleet.nationtech.io/eventlog/natstest"
)

const nodes = 3

// cluster is three servers with the accounts of a real fleet, over TLS, which run by
// configuration files, and replicas of the auth callout.
type cluster struct {
	t        *testing.T
	ca       *authority.Authority
	users    accounts.Users
	provider *providertest.Provider
	issuer   seed
	xkey     seed
	files    []string
	conf     []accounts.Server
	servers  *natstest.Servers
	js       jetstream.JetStream // of the operator
	system   *nats.Conn
	callouts []func() // each stops one
}

type seed struct {
	seed   []byte
	public string
}

func newSeed(t *testing.T, create func() (nkeys.KeyPair, error)) seed {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	text, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return seed{text, public}
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{
		t: t, provider: providertest.Start(t), issuer: newSeed(t, nkeys.CreateAccount), xkey: newSeed(t, nkeys.CreateCurveKeys),
		users: accounts.Users{
			Operator: accounts.Login{User: "operator", Password: "o"}, System: accounts.Login{User: "sys", Password: "s"},
			Callout: &accounts.Callout{
				Answers: accounts.Login{User: accounts.CalloutUser, Password: "a"}, Log: accounts.Login{User: accounts.CalloutLogUser, Password: "l"},
				System: accounts.Login{User: accounts.CalloutSystemUser, Password: "y"},
			},
		},
	}
	var err error
	if c.ca, err = authority.Load(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, server := range accountstest.Nodes(t, nodes) {
		certFile, keyFile, err := c.ca.Server(server.Name)
		if err != nil {
			t.Fatal(err)
		}
		server.TLS, server.WebSocketPort = &accounts.TLS{CertFile: certFile, KeyFile: keyFile}, natstest.FreePort(t)
		c.conf = append(c.conf, server)
		c.files = append(c.files, filepath.Join(t.TempDir(), "nats.conf"))
	}
	c.write()
	c.servers = natstest.ClusterOf(t, c.files...)
	_, c.js = c.servers.Connect(t, nats.UserInfo("operator", "o"), nats.RootCAs(c.ca.File()))
	c.system, _ = c.servers.Connect(t, nats.UserInfo("sys", "s"), nats.RootCAs(c.ca.File()))
	natstest.EnsureLog(t, c.js, nodes)
	for range 2 {
		c.callouts = append(c.callouts, c.callout(c.issuer))
	}
	return c
}

// write writes the servers' configuration files, with the present issuer.
func (c *cluster) write() {
	c.t.Helper()
	c.users.Callout.Issuer, c.users.Callout.XKey = c.issuer.public, c.xkey.public
	text, err := accounts.Render(c.users, accounts.RenderOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	for i, file := range c.files {
		if err := os.WriteFile(file, append(c.conf[i].Render(), text...), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
}

// url lists all servers, as devices are configured.
func (c *cluster) url() string { return strings.ReplaceAll(c.servers.URL(), "nats://", "tls://") }

// webSocketURL lists all servers, for devices behind a proxy.
func (c *cluster) webSocketURL() string {
	var all []string
	for _, conf := range c.conf {
		all = append(all, fmt.Sprintf("wss://127.0.0.1:%d", conf.WebSocketPort))
	}
	return strings.Join(all, ",")
}

// callout starts a replica that signs for these issuers, waits until it takes
// requests, and gives what stops it.
func (c *cluster) callout(issuers ...seed) (stop func()) {
	c.t.Helper()
	keys := responder.Keys{XKeys: [][]byte{c.xkey.seed}}
	for _, s := range issuers {
		keys.Issuers = append(keys.Issuers, s.seed)
	}
	login := func(l accounts.Login) service.Login { return service.Login{User: l.User, Password: l.Password} }
	replica, err := service.New(service.Options{
		URL: c.url(), NATSOptions: []nats.Option{nats.RootCAs(c.ca.File())},
		Auth: login(c.users.Callout.Answers), Log: login(c.users.Callout.Log), System: login(c.users.Callout.System), Keys: keys,
		Issuer: c.provider.Issuer(), Project: providertest.Project, DeviceOrganization: providertest.Devices, DeviceRole: "device",
		Organizations: []string{providertest.People}, Roles: service.DefaultRoles(),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	stop = c.run("the callout", replica.Run)
	await(c.t, "a replica takes requests", replica.Ready)
	return stop
}

func (c *cluster) run(what string, run func(context.Context) error) (stop func()) {
	return runInTest(c.t, what, run)
}

// rolls changes the servers one after the other.
func (c *cluster) rolls(apply func(context.Context, rolling.Server) error) error {
	return rolling.Change(c.t.Context(), rolling.Options{Conn: c.system, Servers: nodes, Apply: apply, Changed: func(s rolling.Server, n rolling.Count) {
		c.t.Logf("%s was changed: %d devices before, %d after %.1f s", s.Name, n.Before, n.After, n.Took.Seconds())
	}})
}

// restart stops and starts a server, which reads its file again.
func (c *cluster) restart(_ context.Context, s rolling.Server) error {
	for _, node := range c.servers.Nodes {
		if node.Name() == s.Name {
			node.Restart()
			return nil
		}
	}
	return fmt.Errorf("no server has the name %s", s.Name)
}

// certificates are the serial numbers that the servers show, over TLS and over
// WebSocket.
func (c *cluster) certificates() (serials []string) {
	c.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.ca.PEM())
	for i, node := range c.servers.Nodes {
		var serial string
		nc, err := nats.Connect(strings.Replace(node.URL(), "nats://", "tls://", 1), nats.UserInfo("operator", "o"), nats.NoReconnect(), nats.Timeout(10*time.Second),
			nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, VerifyConnection: func(s tls.ConnectionState) error {
				serial = s.PeerCertificates[0].SerialNumber.String()
				return nil
			}}))
		if err != nil {
			c.t.Fatal(err)
		}
		nc.Close()
		ws, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.conf[i].WebSocketPort), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots})
		if err != nil {
			c.t.Fatal(err)
		}
		serials = append(serials, serial, ws.ConnectionState().PeerCertificates[0].SerialNumber.String())
		_ = ws.Close() // the server may be first
	}
	return serials
}
