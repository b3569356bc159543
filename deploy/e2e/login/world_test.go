// Package login_test lets persons and services in by fleetctl: the development
// provider gives tokens, the auth callout judges them, a real server lets them in.
package login_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/trust/trusttest"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/testlog"
)

const (
	people  = "4000" // the organization that grants roles
	devices = "3000"
	project = "3012"
)

// world is a provider, a server and a callout.
type world struct {
	t         *testing.T
	provider  *devprovider.Provider
	server    *natstest.Server
	js        jetstream.JetStream // the operator's
	app       string              // fleetctl's client id
	config    string              // the directory of the person's configuration
	url       string
	webSocket string   // empty in plaintext
	trust     []string // flags: whom the person trusts
}

func start(t *testing.T, o devprovider.Options) *world {
	t.Helper()
	return startBehind(t, o, nil)
}

// startBehind has server and provider speak TLS, by a CA of their own; nil: plaintext.
// Then the server speaks WebSocket too.
func startBehind(t *testing.T, o devprovider.Options, ca *trusttest.Authority) *world {
	t.Helper()
	w := &world{t: t, config: t.TempDir(), trust: []string{"--insecure-plaintext"}}
	var toNATS []nats.Option
	var issuerCA []byte
	overTLS := func(*server.Options) {}
	if ca != nil {
		certificate := ca.Sign("fleet.example.org", time.Now().AddDate(0, -1, 0), time.Now().AddDate(0, 2, 0))
		o.Certificate, w.trust, toNATS = &certificate, []string{"--ca-file", ca.File()}, []nats.Option{nats.RootCAs(ca.File())}
		var err error
		issuerCA, err = os.ReadFile(ca.File())
		w.must(err)
		overTLS = func(so *server.Options) {
			so.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
			so.Websocket = server.WebsocketOpts{Host: "127.0.0.1", Port: natstest.FreePort(t), TLSConfig: so.TLSConfig}
			w.webSocket = fmt.Sprintf("wss://127.0.0.1:%d", so.Websocket.Port)
		}
	}
	if o.PollInterval == 0 {
		o.PollInterval = time.Second
	}
	w.provider = devprovidertest.Start(t, o)
	for _, org := range []string{people, devices} {
		w.provider.AddOrganization(devprovider.Organization{ID: org, Domain: org + ".example.org"})
	}
	w.provider.AddProject(project)
	var err error
	w.app, err = w.provider.AddApplication(devprovider.Application{Project: project, Native: true})
	w.must(err)

	dir := t.TempDir()
	u, err := accounts.LoadUsers(filepath.Join(dir, "passwords.json"), accounts.Names{Operator: "operator", System: "sys", Callout: true})
	w.must(err)
	u.Callout.Issuer, u.Callout.XKey, err = accounts.LoadCalloutKeys(dir)
	w.must(err)
	text, err := accounts.Render(u, accounts.RenderOptions{})
	w.must(err)
	rendered := accounts.Server{Name: "n", Port: -1, StoreDir: t.TempDir()}.Render()
	w.server = natstest.Start(t, natstest.Config(t, string(rendered)+string(text)), overTLS)
	w.url = w.server.URL()
	if ca != nil {
		w.url = strings.Replace(w.url, "nats://", "tls://", 1)
	}
	_, w.js = w.server.Connect(t, append(toNATS, nats.UserInfo("operator", u.Operator.Password))...)
	natstest.EnsureLog(t, w.js, 1)
	seed := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		w.must(err)
		return b
	}
	replica, err := service.New(service.Options{
		URL: w.url, NATSOptions: toNATS, IssuerCA: issuerCA, Auth: service.Login(u.Callout.Answers), Log: service.Login(u.Callout.Log), System: service.Login(u.Callout.System),
		Keys:   responder.Keys{Issuers: [][]byte{seed(accounts.IssuerSeedFile)}, XKeys: [][]byte{seed(accounts.XKeySeedFile)}},
		Issuer: w.provider.Issuer(), KeysURL: w.provider.Issuer() + "/oauth/v2/keys", Project: project,
		DeviceOrganization: devices, DeviceRole: "device", Organizations: []string{people}, Roles: service.DefaultRoles(),
		Registry: prometheus.NewRegistry(),
	})
	w.must(err)
	w.run("the callout", replica.Run)
	w.eventually("the callout takes requests", func() bool { return w.server.Subscriptions(t, eventlog.AuthRequestSubject) == 1 })
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

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	const timeout = 60 * time.Second
	for deadline := time.Now().Add(timeout); !ok(); time.Sleep(5 * time.Millisecond) { // poll
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s", timeout, what)
		}
	}
}

// person makes a person with roles.
func (w *world) person(name string, roles ...string) (id string) {
	w.t.Helper()
	id, err := w.provider.AddUser(devprovider.User{Organization: people, Username: strings.ToLower(name) + "@example.org", Name: name})
	w.must(err)
	for _, r := range roles {
		w.must(w.provider.GrantRole(id, devprovider.Role{Project: project, Key: r, Organization: people}))
	}
	return id
}

// machine makes a machine user with a role, and gives the file of its key.
func (w *world) machine(id, organization string, kind devprovider.TokenType, roles ...string) (keyFile string) {
	w.t.Helper()
	_, err := w.provider.AddUser(devprovider.User{ID: id, Organization: organization, Machine: true, TokenType: kind})
	w.must(err)
	for _, r := range roles {
		w.must(w.provider.GrantRole(id, devprovider.Role{Project: project, Key: r, Organization: organization}))
	}
	key, err := w.provider.AddKey(id, time.Now().AddDate(1, 0, 0))
	w.must(err)
	file := filepath.Join(w.t.TempDir(), id+".json")
	w.must(os.WriteFile(file, key, 0o600))
	return file
}

// say appends events as the operator does.
func (w *world) say(subject string, t eventlog.Type, payload any) {
	w.t.Helper()
	d, err := eventlog.NewDraft(subject, t, time.Now(), payload)
	w.must(err)
	d.Actor = "operator"
	_, err = w.js.PublishMsg(context.Background(), d.Message("test", nats.NewInbox()))
	w.must(err)
}

// command is a command line that runs.
type command struct {
	out, err testlog.Buffer
	code     chan int
	stop     context.CancelFunc
}

// begin begins a command line. env has the environment, name=value.
func (w *world) begin(env []string, args ...string) *command {
	ctx, cancel := context.WithCancel(context.Background())
	c := &command{code: make(chan int, 1), stop: cancel}
	w.t.Cleanup(cancel)
	all := map[string]string{"XDG_CONFIG_HOME": w.config}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		all[name] = value
	}
	go func() {
		c.code <- fleetctl.Run(ctx, cli.Streams{
			Out: &c.out, Err: &c.err, Getenv: func(name string) string { return all[name] }, Now: time.Now, Name: "fleetctl",
		}, args)
	}()
	return c
}

func (w *world) end(c *command) int {
	w.t.Helper()
	const timeout = 60 * time.Second
	select {
	case code := <-c.code:
		return code
	case <-time.After(timeout):
		c.stop()
		w.t.Fatalf("the command does not end: %s%s", c.out.String(), c.err.String())
		return 0
	}
}

// fleetctl runs a command line to its end.
func (w *world) fleetctl(args ...string) (code int, out, err string) {
	w.t.Helper()
	return w.fleetctlIn(nil, args...)
}

func (w *world) fleetctlIn(env []string, args ...string) (code int, out, err string) {
	w.t.Helper()
	c := w.begin(env, args...)
	code = w.end(c)
	return code, c.out.String(), c.err.String()
}

// self is what whoami and login say.
type self struct {
	Actor   string    `json:"actor"`
	Account string    `json:"account"`
	Name    string    `json:"name"`
	Roles   []string  `json:"roles"`
	Issuer  string    `json:"issuer"`
	Context string    `json:"context"`
	Expires time.Time `json:"token_expires"`
}

func (w *world) self(text string) (s self) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		w.t.Fatalf("%v in %s", err, text)
	}
	return s
}

// login logs a person in, and gives what the command says. arguments are added.
func (w *world) login(id string, args ...string) (self, *command) {
	w.t.Helper()
	c := w.begin(nil, append([]string{
		"login", "--url", w.url, "--issuer", w.provider.Issuer(), "--client-id", w.app, "--project", project,
	}, append(w.trust, args...)...)...)
	w.eventually("the code", func() bool { return strings.Contains(c.out.String(), "user_code") || len(c.code) > 0 })
	var prompt struct {
		UserCode string `json:"user_code"`
		URI      string `json:"verification_uri"`
	}
	if err := json.Unmarshal([]byte(strings.SplitN(c.out.String(), "\n", 2)[0]), &prompt); err != nil {
		w.t.Fatalf("%v in %s%s", err, c.out.String(), c.err.String())
	}
	if prompt.URI != w.provider.Issuer()+"/device" {
		w.t.Errorf("page %q", prompt.URI)
	}
	w.must(w.provider.Approve(prompt.UserCode, id))
	if code := w.end(c); code != 0 {
		c.code <- code
		return self{}, c
	}
	return w.self(strings.SplitN(c.out.String(), "\n", 2)[1]), c
}

// mustLogin logs a person in who gets in.
func (w *world) mustLogin(id string, args ...string) self {
	w.t.Helper()
	s, c := w.login(id, args...)
	if s.Actor == "" {
		w.t.Fatalf("login: %s%s", c.out.String(), c.err.String())
	}
	return s
}

// cached reads the one file of tokens.
func (w *world) cached() (access, refresh string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.config, "fleet", "tokens", "*.json"))
	w.must(err)
	if len(files) != 1 {
		w.t.Fatalf("%d files of tokens", len(files))
	}
	info, err := os.Stat(files[0])
	w.must(err)
	if info.Mode().Perm() != 0o600 {
		w.t.Errorf("%s has mode %v", files[0], info.Mode())
	}
	b, err := os.ReadFile(files[0])
	w.must(err)
	var t struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	w.must(json.Unmarshal(b, &t))
	return t.Access, t.Refresh
}
