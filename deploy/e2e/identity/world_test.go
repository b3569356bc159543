package identity_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine/memory"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/testlog"
)

const (
	organization = "3000"
	project      = "3012"
	device       = "pi-01"
)

// world is a provider, a server with the accounts of a real fleet, and replicas of the
// auth callout. Agents come later.
type world struct {
	t        *testing.T
	provider *devprovider.Provider
	server   *natstest.Server
	users    accounts.Users
	keys     responder.Keys
	fleet    *nats.Conn // of the operator
	js       jetstream.JetStream
	log      testlog.Buffer // of all agents
}

// start starts a provider, a server and a replica of the callout.
func start(t *testing.T, life time.Duration) *world {
	t.Helper()
	w := newWorld(t, life)
	w.callout()
	return w
}

func newWorld(t *testing.T, life time.Duration) *world {
	t.Helper()
	return newWorldOf(t, devprovider.Options{TokenLifetime: life})
}

func newWorldOf(t *testing.T, o devprovider.Options) *world {
	t.Helper()
	w := &world{t: t, provider: devprovidertest.Start(t, o)}
	w.provider.AddOrganization(devprovider.Organization{ID: organization, Domain: "acme.example.org"})
	w.provider.AddProject(project)

	issuer, xkey := newSeed(t, nkeys.CreateAccount), newSeed(t, nkeys.CreateCurveKeys)
	w.keys = responder.Keys{Issuers: [][]byte{issuer.seed}, XKeys: [][]byte{xkey.seed}}
	w.users = accounts.Users{
		Operator: accounts.Login{User: "operator", Password: "o"},
		Callout: &accounts.Callout{
			Issuer: issuer.public, XKey: xkey.public, Answers: accounts.Login{User: accounts.CalloutUser, Password: "a"},
			Log: accounts.Login{User: accounts.CalloutLogUser, Password: "l"}, System: accounts.Login{User: accounts.CalloutSystemUser, Password: "y"},
		},
	}
	text, err := accounts.Render(w.users, accounts.RenderOptions{})
	w.must(err)
	w.server = natstest.Start(t, natstest.Config(t, string(text)))
	fleet, js := w.server.Connect(t, nats.UserInfo("operator", "o"))
	w.fleet, w.js = fleet, js
	natstest.EnsureLog(t, js, 1)
	return w
}

// callout starts a replica, waits until it takes requests, and gives what stops it.
func (w *world) callout() (stop func()) {
	w.t.Helper()
	login := func(l accounts.Login) service.Login { return service.Login{User: l.User, Password: l.Password} }
	replica, err := service.New(service.Options{
		URL: w.server.URL(), Auth: login(w.users.Callout.Answers), Log: login(w.users.Callout.Log), System: login(w.users.Callout.System),
		Keys: w.keys, Issuer: w.provider.Issuer(), Project: project, DeviceOrganization: organization, DeviceRole: "device",
		Organizations: []string{"2000"}, Roles: service.DefaultRoles(),
	})
	w.must(err)
	stop = runInTest(w.t, "the callout", replica.Run)
	await(w.t, "a replica takes requests", replica.Ready)
	return stop
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// runInTest runs something until the test ends or stop is called.
func runInTest(t *testing.T, what string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	await(w.t, what, ok, &w.log)
}

// await polls until something is so. What the logs say is told where it never is.
func await(t *testing.T, what string, ok func() bool, logs ...*testlog.Buffer) {
	t.Helper()
	const timeout = 3 * time.Minute
	for deadline := time.Now().Add(timeout); !ok(); time.Sleep(5 * time.Millisecond) { // poll
		if time.Now().After(deadline) {
			for _, l := range logs {
				t.Log(l)
			}
			t.Fatalf("not within %s: %s", timeout, what)
		}
	}
}

// enrol makes a device's machine user and its key, and starts its agent. It gives the
// agent's metrics.
func (w *world) enrol(id string, kind devprovider.TokenType) *prometheus.Registry {
	w.t.Helper()
	_, err := w.provider.AddUser(devprovider.User{ID: id, Organization: organization, Machine: true, TokenType: kind})
	w.must(err)
	w.must(w.provider.GrantRole(id, devprovider.Role{Project: project, Key: "device", Organization: organization}))
	key, err := w.provider.AddKey(id, time.Now().AddDate(1, 0, 0))
	w.must(err)
	c := config.Default()
	c.DeviceID, c.DataDir = id, w.t.TempDir()
	c.NATS = config.NATS{URL: w.server.URL(), AllowPlaintext: true}
	c.Auth = config.Auth{
		Mode: config.ModeZitadelJWT, Issuer: w.provider.Issuer(), AllowPlaintext: true, ProjectID: project,
		KeyFile: filepath.Join(c.DataDir, "zitadel-key.json"),
	}
	c.Podman.Engine = config.EngineMemory
	c.Report.PulseInterval = config.Duration(time.Second)
	w.must(os.WriteFile(c.Auth.KeyFile, key, 0o600))
	engine, err := memory.New(memory.Options{Device: id})
	w.must(err)
	registry := prometheus.NewRegistry()
	a, err := agent.New(c, agent.Options{Engine: engine, Logger: slog.New(slog.NewTextHandler(&w.log, nil)).With("device", id), Registry: registry})
	w.must(err)
	runInTest(w.t, "the agent of "+id, a.Run)
	return registry
}

// ping asks a device for a ping and says whether it answered.
func (w *world) ping(id string, timeout time.Duration) bool {
	m, err := w.fleet.Request(eventlog.DeviceCommandSubject(id, eventlog.VerbPing), nil, timeout)
	var pong struct {
		DeviceID string `json:"device_id"`
	}
	return err == nil && json.Unmarshal(m.Data, &pong) == nil && pong.DeviceID == id
}

func rollovers(t *testing.T, r *prometheus.Registry) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "fleet_agent_connection_rollovers_total" {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
