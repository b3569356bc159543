//go:build e2e

// Package packages_test installs, upgrades, removes and purges the agent's deb on real
// systemd devices, breaks the agent's unit, and enrols devices by the package.
package packages_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/dev/authority"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
	"fleet.nationtech.io/deploy/packages"
	"fleet.nationtech.io/deploy/packages/pkgfile"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// timeout is how long anything may take, on a machine that does much else at the same
// time.
const timeout = 2 * time.Minute

// world is a fleet and blank devices that reach it: a NATS server over TLS, where each
// device has a user with a password, a Kubernetes API and an operator.
type world struct {
	t       *testing.T
	lab     *systemdtest.Lab
	devices []*systemdtest.Device
	ca      *authority.Authority
	users   accounts.Users
	url     string
	fleet   *nats.Conn
	kube    *versioned.Clientset
	began   time.Time
	home    string // of the person who enrols
}

// in gives the world to a test within the one that made it.
func (w *world) in(t *testing.T) *world {
	of := *w
	of.t = t
	return &of
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	w := &world{t: t, lab: systemdtest.New(t), began: time.Now(), home: t.TempDir()}
	w.devices = w.lab.Start(names...)
	gateway := net.IP(w.lab.Gateway().AsSlice())
	var err error
	w.ca, err = authority.Load(t.TempDir())
	w.must(err)
	certFile, keyFile, err := w.ca.Server("nats", gateway)
	w.must(err)
	w.users, err = accounts.LoadUsers(filepath.Join(t.TempDir(), "passwords.json"), accounts.Names{
		Operator: "operator", System: "sys", People: []string{"admin"}, Level: callout.Admin, Devices: names,
	})
	w.must(err)
	text, err := accounts.Render(w.users, accounts.RenderOptions{})
	w.must(err)
	conf := accounts.Server{
		Name: "nats-1", Host: gateway.String(), Port: -1, StoreDir: t.TempDir(), TLS: &accounts.TLS{CertFile: certFile, KeyFile: keyFile},
	}
	server := natstest.Start(t, natstest.Config(t, string(conf.Render())+string(text)), natstest.Host(gateway.String()))
	w.url = strings.Replace(server.URL(), "nats://", "tls://", 1)
	conn, js := server.Connect(t, nats.UserInfo("operator", w.users.Operator.Password), nats.RootCAs(w.ca.File()))
	w.fleet = conn
	natstest.EnsureLog(t, js, 1)

	api := localapitest.Private(t)
	w.kube, err = versioned.NewForConfig(api.Config)
	w.must(err)
	op, err := operator.New(operator.Options{
		Conn: conn, RestConfig: api.Config, Identity: "the-operator", PulseInterval: time.Second,
		// Nobody else wants the Lease: a busy machine must not cost it.
		LeaseDuration: 60 * time.Second, RenewDeadline: 50 * time.Second, RetryPeriod: time.Second,
	})
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- op.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the operator: %v", err)
		}
	})
	w.must(sampletest.Apply(t.Context(), w.kube, "hello", "1"))
	w.writeSSHConfig()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) step(what string) {
	w.t.Helper()
	w.t.Logf("%6.1f s: %s", time.Since(w.began).Seconds(), what)
}

// eventually polls until something is so.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(timeout); ; time.Sleep(50 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", timeout, what, err)
		}
	}
}

func (w *world) ping(id string) error { return sampletest.Ping(w.fleet, id) }

// deb makes a deb of this machine's agent, under a version.
func deb(t *testing.T, version string) packages.Package {
	t.Helper()
	content, err := os.ReadFile(built.Program(t, "fleet-agent"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := packages.Build(pkgfile.Deb, packages.Agent{
		Program: content, Arch: "amd64", Version: version, Date: time.Unix(1790000000, 0), Maintainer: "Jane Doe <jane@example.org>",
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// install runs dpkg -i as an administrator does it.
func install(d *systemdtest.Device, p packages.Package) string {
	return d.Feed(p.Content, "cat >/root/"+p.File+" && dpkg -i /root/"+p.File+" 2>&1; code=$?; rm -f /root/"+p.File+"; exit $code")
}

// configure writes the configuration by which a device gets in.
func (w *world) configure(d *systemdtest.Device) {
	w.t.Helper()
	password, ok := w.users.DevicePassword(d.Name)
	if !ok {
		w.t.Fatalf("%s has no password", d.Name)
	}
	c := config.Default()
	c.DeviceID, c.Labels = d.Name, map[string]string{"site": "lab"}
	c.NATS = config.NATS{URL: w.url, CAFile: "/etc/fleet-agent/ca.crt"}
	c.Auth.User, c.Auth.Password = "device-"+d.Name, password
	text, err := c.Encode()
	w.must(err)
	d.Feed(w.ca.PEM(), "umask 077; cat >/etc/fleet-agent/ca.crt")
	d.Feed(text, "umask 077; cat >/etc/fleet-agent/config.toml")
}

// service is a property that systemd has of the agent's unit.
func service(d *systemdtest.Device, property string) string {
	out, err := d.Try("systemctl show -P " + property + " fleet-agent.service")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out)
}

// container is the id of the one container that runs on a device, and when it was
// started; it fails where there is none.
func container(d *systemdtest.Device) (string, error) {
	out, err := d.Try("podman ps -q --no-trunc | xargs -r podman inspect --format '{{.Id}} {{.State.StartedAt}}'")
	if err == nil && (out == "" || strings.Contains(out, "\n")) {
		err = fmt.Errorf("containers %q", out)
	}
	return out, err
}

// goesOn fails the test where the container is not the one that it was.
func goesOn(t *testing.T, d *systemdtest.Device, was, after string) {
	t.Helper()
	if is, err := container(d); err != nil || is != was {
		t.Errorf("after %s the container is %q (%v), and was %q", after, is, err, was)
	}
}
