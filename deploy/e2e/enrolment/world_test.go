//go:build e2e

// Package enrolment_test enrols real systemd devices by the real fleetctl, breaks the
// enrolment at each step, and takes the devices out of the fleet again.
package enrolment_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/callout/responder"
	"fleet.nationtech.io/callout/service"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/dev/authority"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

const (
	devicesOrganization = "3000"
	peopleOrganization  = "4000"
	project             = "3012"

	// timeout is how long anything may take, on a machine that does much else at the
	// same time.
	timeout = 2 * time.Minute
)

// world is a fleet without devices, and blank devices that reach it: a provider over TLS,
// a NATS server over TLS and WebSocket with two replicas of the auth callout, a
// Kubernetes API and an operator.
type world struct {
	t         *testing.T
	lab       *systemdtest.Lab
	devices   []*systemdtest.Device
	ca        *authority.Authority
	provider  *devprovider.Provider
	server    *natstest.Server
	users     accounts.Users
	url       string // tls://
	webSocket string // wss://
	fleet     *nats.Conn
	js        jetstream.JetStream // of the operator
	kube      *versioned.Clientset
	secrets   string // the directory of the callout's seeds
	home      string // of the person who enrols
	adminKey  string // the key file of who manages the devices' users
}

// newWorld starts all of it. The provider shows what is new after a lag. The devices
// named shared get a user with a password.
func newWorld(t *testing.T, lag time.Duration, names []string, shared ...string) *world {
	t.Helper()
	w := &world{t: t, lab: systemdtest.New(t), home: t.TempDir()}
	w.devices = w.lab.Start(names...)
	gateway := net.IP(w.lab.Gateway().AsSlice())
	var err error
	w.ca, err = authority.Load(t.TempDir())
	w.must(err)

	certFile, keyFile, err := w.ca.Server("provider", gateway)
	w.must(err)
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	w.must(err)
	w.provider = devprovidertest.Start(t, devprovider.Options{Listen: gateway.String() + ":0", Certificate: &certificate, PollInterval: time.Second, Lag: lag})
	for _, id := range []string{devicesOrganization, peopleOrganization} {
		w.provider.AddOrganization(devprovider.Organization{ID: id, Domain: id + ".example.org"})
	}
	w.provider.AddProject(project)
	w.adminKey = w.serviceAccount("enroller", "ORG_USER_MANAGER")

	w.startNATS(gateway, shared)
	for i := range 2 {
		w.startCallout(i)
	}
	api := localapitest.Private(t)
	w.kube, err = versioned.NewForConfig(api.Config)
	w.must(err)
	op, err := operator.New(operator.Options{
		Conn: w.fleet, RestConfig: api.Config, Identity: "the-operator", PulseInterval: time.Second,
		// Nobody else wants the Lease: a busy machine must not cost it.
		LeaseDuration: 60 * time.Second, RenewDeadline: 50 * time.Second, RetryPeriod: time.Second,
	})
	w.must(err)
	w.run("the operator", op.Run)
	w.writeSSHConfig()
	return w
}

func (w *world) startNATS(gateway net.IP, shared []string) {
	w.t.Helper()
	certFile, keyFile, err := w.ca.Server("nats", gateway)
	w.must(err)
	dir := w.t.TempDir()
	w.users, err = accounts.LoadUsers(filepath.Join(dir, "passwords.json"), accounts.Names{
		Operator: "operator", System: "sys", Callout: true, People: []string{"admin"}, Level: callout.Admin, Devices: shared,
	})
	w.must(err)
	w.users.Callout.Issuer, w.users.Callout.XKey, err = accounts.LoadCalloutKeys(dir)
	w.must(err)
	w.secrets = dir
	text, err := accounts.Render(w.users, accounts.RenderOptions{})
	w.must(err)
	conf := accounts.Server{
		Name: "nats-1", Host: gateway.String(), Port: -1, StoreDir: w.t.TempDir(),
		TLS: &accounts.TLS{CertFile: certFile, KeyFile: keyFile}, WebSocketPort: natstest.FreePort(w.t),
	}
	w.server = natstest.Start(w.t, natstest.Config(w.t, string(conf.Render())+string(text)), natstest.Host(gateway.String()))
	w.url = strings.Replace(w.server.URL(), "nats://", "tls://", 1)
	w.webSocket = fmt.Sprintf("wss://%s:%d", gateway, conf.WebSocketPort)
	w.fleet, w.js = w.server.Connect(w.t, nats.UserInfo("operator", w.users.Operator.Password), nats.RootCAs(w.ca.File()))
	natstest.EnsureLog(w.t, w.js, 1)
}

func (w *world) startCallout(i int) {
	w.t.Helper()
	seed := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(w.secrets, name))
		w.must(err)
		return b
	}
	c := w.users.Callout
	replica, err := service.New(service.Options{
		URL: w.url, NATSOptions: []nats.Option{nats.RootCAs(w.ca.File())}, IssuerCA: w.ca.PEM(),
		Auth: service.Login(c.Answers), Log: service.Login(c.Log), System: service.Login(c.System),
		Keys:   responder.Keys{Issuers: [][]byte{seed(accounts.IssuerSeedFile)}, XKeys: [][]byte{seed(accounts.XKeySeedFile)}},
		Issuer: w.provider.Issuer(), Project: project, DeviceOrganization: devicesOrganization, DeviceRole: "device",
		Organizations: []string{peopleOrganization}, Roles: service.DefaultRoles(),
	})
	w.must(err)
	w.run(fmt.Sprintf("replica %d of the callout", i+1), replica.Run)
	w.eventually("a replica of the callout takes requests", func() error {
		if !replica.Ready() {
			return fmt.Errorf("replica %d is not ready", i+1)
		}
		return nil
	})
}

// serviceAccount makes a machine user with roles in the devices' organization, waits
// until the provider shows its key, and gives the key's file.
func (w *world) serviceAccount(id string, roles ...string) (keyFile string) {
	w.t.Helper()
	_, err := w.provider.AddUser(devprovider.User{ID: id, Organization: devicesOrganization, Machine: true, TokenType: devprovider.JWT})
	w.must(err)
	w.provider.AddAdministrator(id, devicesOrganization, roles...)
	key, err := w.provider.AddKey(id, time.Now().AddDate(1, 0, 0))
	w.must(err)
	keyFile = filepath.Join(w.t.TempDir(), id+".json")
	w.must(os.WriteFile(keyFile, key, 0o600))
	var written devprovider.KeyFile
	w.must(json.Unmarshal(key, &written))
	w.eventually("the provider shows the key of "+id, func() error {
		if !w.provider.HasKey(written.KeyID, id) {
			return fmt.Errorf("key %s is not seen yet", written.KeyID)
		}
		return nil
	})
	return keyFile
}

// writeSSHConfig writes the ~/.ssh of the person who enrols.
func (w *world) writeSSHConfig() {
	w.t.Helper()
	dir := filepath.Join(w.home, ".ssh")
	w.must(os.Mkdir(dir, 0o700))
	known := ""
	for _, d := range w.devices {
		known += d.KnownHost()
	}
	w.must(os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known), 0o600))
	w.must(os.WriteFile(filepath.Join(dir, "config"), fmt.Appendf(nil, "Host *\n  IdentityFile %s\n", w.lab.KeyFile), 0o600))
}

// know adds lines to the person's known_hosts.
func (w *world) know(lines ...string) {
	w.t.Helper()
	f, err := os.OpenFile(filepath.Join(w.home, ".ssh", "known_hosts"), os.O_APPEND|os.O_WRONLY, 0o600)
	w.must(err)
	_, err = f.WriteString(strings.Join(lines, ""))
	w.must(errors.Join(err, f.Close()))
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

// eventually polls until something is so.
func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	for deadline := time.Now().Add(timeout); ; time.Sleep(50 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s: %v", timeout, what, err)
		}
	}
}

// command is a fleetctl of the person who enrols.
func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	w.t.Helper()
	c := exec.CommandContext(ctx, built.Program(w.t, "fleetctl"), args...)
	c.Env = []string{
		"HOME=" + w.home, "PATH=" + os.Getenv("PATH"), "NO_COLOR=1",
		"FLEET_NATS_URL=" + w.url, "FLEET_NATS_CA=" + w.ca.File(),
		"FLEET_NATS_USER=" + w.users.People[0].User, "FLEET_NATS_PASSWORD=" + w.users.People[0].Password,
	}
	c.WaitDelay = time.Second
	return c
}

// result is what a command did.
type result struct {
	code int
	out  string
	err  string
}

func (r result) String() string { return fmt.Sprintf("exit %d\n%s\n%s", r.code, r.out, r.err) }

// fleetctl runs a command line to its end. It may be called from any goroutine.
func (w *world) fleetctl(args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	c := w.command(ctx, args...)
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	err := c.Run()
	if ctx.Err() != nil || c.ProcessState == nil {
		return result{-1, out.String(), fmt.Sprintf("%sit did not end within %s: %v", said.String(), timeout, err)}
	}
	return result{c.ProcessState.ExitCode(), out.String(), said.String()}
}

func (w *world) ping(id string) error { return sampletest.Ping(w.fleet, id) }

func (w *world) apply(name, tag string) {
	w.t.Helper()
	w.must(sampletest.Apply(w.t.Context(), w.kube, name, tag))
}

func (w *world) ready(name string, devices int) {
	w.t.Helper()
	w.eventually(name+" is ready", func() error { return sampletest.Ready(w.t.Context(), w.kube, name, devices) })
}
