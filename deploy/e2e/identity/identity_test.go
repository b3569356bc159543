// Package identity_test lets a whole agent in by its key: the development
// provider gives it tokens, the auth callout judges them, a real server lets it in.
package identity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine/memory"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

const (
	organization = "3000"
	project      = "3012"
	device       = "pi-01"
)

// accounts has what this test needs of the server's configuration.
const accounts = `
system_account: SYS
authorization { timeout: 1.8, auth_callout { issuer: %s, xkey: %s, account: AUTH, auth_users: [callout, callout-fleet, callout-sys, operator] } }
accounts {
  AUTH { users: [ { user: callout, password: x } ] }
  FLEET {
    jetstream: enabled
    exports: [
      { service: "fleet.evt.info.*", accounts: [DEVICES] }
      { service: "fleet.evt.agent.*", accounts: [DEVICES] }
      { service: "fleet.evt.state.*.*", accounts: [DEVICES] }
      { service: "fleet.pulse.*", accounts: [DEVICES] }
      { service: "fleet.sync.*", accounts: [DEVICES], response_type: Stream }
      { stream: "fleet.live.desired.*.*", accounts: [DEVICES] } ]
    imports: [ { service: { account: DEVICES, subject: "device-commands.>" }, share: true } ]
    users: [ { user: operator, password: x }, { user: callout-fleet, password: x } ]
  }
  DEVICES {
    imports: [
      { service: { account: FLEET, subject: "fleet.evt.info.*" } }
      { service: { account: FLEET, subject: "fleet.evt.agent.*" } }
      { service: { account: FLEET, subject: "fleet.evt.state.*.*" } }
      { service: { account: FLEET, subject: "fleet.pulse.*" } }
      { service: { account: FLEET, subject: "fleet.sync.*" } }
      { stream: { account: FLEET, subject: "fleet.live.desired.*.*" } } ]
    exports: [ { service: "device-commands.>", accounts: [FLEET], response_type: Stream } ]
  }
  PEOPLE { }
  SYS { users: [ { user: callout-sys, password: x } ] }
}`

type world struct {
	t        *testing.T
	provider *devprovider.Provider
	server   *natstest.Server
	fleet    *nats.Conn
	registry *prometheus.Registry
	log      lines
}

// start starts a provider, a server and a callout. The agent comes later.
func start(t *testing.T, life time.Duration) *world {
	t.Helper()
	w := &world{t: t, registry: prometheus.NewRegistry()}
	var err error
	w.provider, err = devprovider.New(devprovider.Options{TokenLifetime: life})
	w.must(err)
	w.run("the provider", w.provider.Run)
	<-w.provider.Ready()
	w.provider.AddOrganization(devprovider.Organization{ID: organization, Domain: "acme.example.org"})
	w.provider.AddProject(project)

	seed := func(create func() (nkeys.KeyPair, error)) ([]byte, string) {
		pair, err := create()
		w.must(err)
		seed, err := pair.Seed()
		w.must(err)
		public, err := pair.PublicKey()
		w.must(err)
		return seed, public
	}
	issuer, issuerKey := seed(nkeys.CreateAccount)
	xkey, xkeyKey := seed(nkeys.CreateCurveKeys)
	w.server = natstest.Start(t, natstest.Config(t, fmt.Sprintf(accounts, issuerKey, xkeyKey)))
	ready := prometheus.NewRegistry()
	fleet, js := w.server.Connect(t, nats.UserInfo("operator", "x"))
	w.fleet = fleet
	natstest.EnsureLog(t, js, 1)
	callout, err := service.New(service.Options{
		URL: w.server.URL(), Auth: service.Login{User: "callout", Password: "x"},
		Log: service.Login{User: "callout-fleet", Password: "x"}, System: service.Login{User: "callout-sys", Password: "x"},
		Keys:   responder.Keys{Issuers: [][]byte{issuer}, XKeys: [][]byte{xkey}},
		Issuer: w.provider.Issuer(), Project: project, DeviceOrganization: organization, DeviceRole: "device",
		Organizations: []string{"2000"}, Roles: service.DefaultRoles(), Registry: ready,
		KeysURL: w.provider.Issuer() + "/oauth/v2/keys",
	})
	w.must(err)
	w.run("the callout", callout.Run)
	w.await("the callout takes requests", func() bool { return sum(t, ready, "fleet_callout_subscribed") == 1 })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) run(what string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("%s: %v", what, err)
		}
	})
}

func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	const timeout = 3 * time.Minute
	for deadline := time.Now().Add(timeout); !ok(); time.Sleep(5 * time.Millisecond) { // poll
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s\n%s", timeout, what, w.log.String())
		}
	}
}

// enrol makes the device's machine user and its key, and starts its agent.
func (w *world) enrol(kind devprovider.TokenType) {
	w.t.Helper()
	_, err := w.provider.AddUser(devprovider.User{ID: device, Organization: organization, Machine: true, TokenType: kind})
	w.must(err)
	w.must(w.provider.GrantRole(device, devprovider.Role{Project: project, Key: "device", Organization: organization}))
	key, err := w.provider.AddKey(device, time.Now().AddDate(1, 0, 0))
	w.must(err)
	c := config.Default()
	c.DeviceID, c.DataDir = device, w.t.TempDir()
	c.NATS = config.NATS{URL: w.server.URL(), AllowPlaintext: true}
	c.Auth = config.Auth{
		Mode: config.ModeZitadelJWT, Issuer: w.provider.Issuer(), AllowPlaintext: true, ProjectID: project,
		KeyFile: filepath.Join(c.DataDir, "zitadel-key.json"),
	}
	c.Podman.Engine = config.EngineMemory
	c.Report.PulseInterval = config.Duration(time.Second)
	w.must(os.WriteFile(c.Auth.KeyFile, key, 0o600))
	engine, err := memory.New(memory.Options{Device: device})
	w.must(err)
	a, err := agent.New(c, agent.Options{Engine: engine, Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Registry: w.registry})
	w.must(err)
	w.run("the agent", a.Run)
}

// ping asks the device for a ping and says whether it answered.
func (w *world) ping(timeout time.Duration) bool {
	m, err := w.fleet.Request(eventlog.DeviceCommandSubject(device, eventlog.VerbPing), nil, timeout)
	var pong struct {
		DeviceID string `json:"device_id"`
	}
	return err == nil && json.Unmarshal(m.Data, &pong) == nil && pong.DeviceID == device
}

// A device comes in by its key, and over three rollovers no ping is lost, though no
// operator answers a sync.
func TestAnAgentComesInByItsKeyAndStaysOverManyTokens(t *testing.T) {
	t.Parallel()
	w := start(t, 20*time.Second)
	w.enrol(devprovider.JWT)
	w.await("the device answers", func() bool { return w.ping(time.Second) })
	pings, slowest := 0, time.Duration(0)
	w.await("three rollovers", func() bool {
		began := time.Now()
		if !w.ping(20 * time.Second) {
			t.Errorf("ping %d is lost", pings)
		}
		pings++
		slowest = max(slowest, time.Since(began))
		return sum(t, w.registry, "fleet_agent_connection_rollovers_total") >= 3
	})
	t.Logf("%d pings over three rollovers, the slowest %v", pings, slowest)
	if strings.Contains(w.log.String(), "NATS is unreachable") {
		t.Errorf("the connection was lost:\n%s", w.log.String())
	}
}

// A machine user that was left at the default has opaque tokens. The device says
// so in its log, and comes in soon after that was mended.
func TestADeviceThatIsRefusedSaysWhyAndComesInOnceThatIsMended(t *testing.T) {
	t.Parallel()
	w := start(t, time.Hour)
	w.enrol(devprovider.Opaque)
	w.await("the reason in the device's log", func() bool {
		return strings.Contains(w.log.String(), "NATS refuses this device") && strings.Contains(w.log.String(), "accessTokenType ACCESS_TOKEN_TYPE_JWT")
	})
	w.must(w.provider.SetTokenType(device, devprovider.JWT))
	w.await("the device answers", func() bool { return w.ping(100 * time.Millisecond) })
}

func sum(t *testing.T, r *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
