//go:build e2e

package upgrade_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// process is one program of the fleet that runs.
type process struct {
	w       *world
	name    string
	of      release
	address string // where it serves
	cmd     *exec.Cmd
	log     string // a file
	ended   chan struct{}
}

// start starts a program of a release; env is beside the machine's own.
func (w *world) start(of release, name, program string, env []string, args ...string) *process {
	w.t.Helper()
	p := &process{w: w, name: name, of: of, log: filepath.Join(w.t.TempDir(), name+".log"), ended: make(chan struct{})}
	out, err := os.Create(p.log)
	w.must(err)
	defer out.Close()
	p.cmd = exec.Command(of.program(program), args...)
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), env...), out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	w.must(p.cmd.Start())
	go func() { defer close(p.ended); _ = p.cmd.Wait() }()
	w.t.Cleanup(p.kill)
	return p
}

// stop ends the process as Kubernetes and systemd do, and waits for it.
func (p *process) stop() {
	p.w.t.Helper()
	select {
	case <-p.ended:
		p.w.t.Errorf("%s of %s ended by itself: %s", p.name, p.of.version, p.cmd.ProcessState)
		return
	default:
	}
	p.w.must(p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.ended:
	case <-time.After(timeout):
		p.w.t.Fatalf("%s of %s does not end", p.name, p.of.version)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.w.t.Errorf("%s of %s ended with %s", p.name, p.of.version, p.cmd.ProcessState)
	}
}

// kill ends a process that still runs at the end of the test, and shows its log where
// the test failed.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	if p.w.t.Failed() {
		b, err := os.ReadFile(p.log)
		p.w.t.Logf("%s of %s (%v):\n%s", p.name, p.of.version, err, b[max(0, len(b)-4<<10):])
	}
}

// ready waits until a process that serves at an address says that it is ready.
func (p *process) ready(address string) *process {
	p.w.t.Helper()
	p.address = address
	p.w.eventually(p.name+" is ready", func(ctx context.Context) error {
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %s", p.cmd.ProcessState)
		default:
		}
		_, err := p.get(ctx, "/readyz")
		return err
	})
	return p
}

func (p *process) get(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	return string(b), err
}

// granted says whether a replica of the auth callout has let somebody in.
func (p *process) granted(ctx context.Context) error {
	text, err := p.get(ctx, "/metrics")
	if err == nil && !strings.Contains(text, `fleet_callout_decisions_total{reason="Granted"}`) {
		err = fmt.Errorf("%s of %s has let nobody in", p.name, p.of.version)
	}
	return err
}

func (w *world) address() string { return fmt.Sprintf("127.0.0.1:%d", natstest.FreePort(w.t)) }

// operator starts a replica of the operator.
func (w *world) operator(of release, identity string) *process {
	w.t.Helper()
	address := w.address()
	return w.start(of, identity, "fleet-operator", []string{"FLEET_NATS_PASSWORD=" + w.secret(names.SecretOperator, names.KeyPassword)},
		"--nats-url", w.url(), "--nats-user", w.secret(names.SecretOperator, names.KeyUser), "--nats-ca-file", w.ca(),
		"--kubeconfig", w.api.API.Kubeconfig, "--identity", identity, "--replicas", fmt.Sprint(servers),
		"--pulse-interval", "3s", "--seal-events", "200", "--checkpoint-events", "500", "--listen", address).ready(address)
}

// settings is the file by which this release's chart sets the auth callouts. A callout of
// the previous release must read it: an upgrade writes it before it comes to the callouts,
// and one of these may start again in between.
func (w *world) settings() string {
	w.t.Helper()
	objects, err := chart.Render(chart.Options{Profile: "production", Values: chart.Values{"callout": chart.Values{
		"issuer": w.provider.Issuer(), "project": project, "deviceOrganization": devicesOrganization, "organizations": []any{peopleOrganization},
	}}})
	w.must(err)
	for _, o := range objects {
		if o.GetKind() == "ConfigMap" && o.GetName() == names.Callout {
			data, _, err := unstructured.NestedStringMap(o.Object, "data")
			w.must(err)
			file := filepath.Join(w.t.TempDir(), "callout.toml")
			w.must(os.WriteFile(file, []byte(data["callout.toml"]), 0o600))
			return file
		}
	}
	w.t.Fatal("the chart has no settings of the callouts")
	return ""
}

// callout starts a replica of the auth callout. What is of this machine is said by flags,
// which are stronger than the chart's settings.
func (w *world) callout(of release, name string) *process {
	w.t.Helper()
	address := w.address()
	env := []string{
		"FLEET_AUTH_PASSWORD=" + w.secret(names.SecretCallout, names.KeyAuthPassword),
		"FLEET_LOG_PASSWORD=" + w.secret(names.SecretCallout, names.KeyLogPassword),
		"FLEET_SYS_PASSWORD=" + w.secret(names.SecretCallout, names.KeySysPassword),
	}
	return w.start(of, name, "fleet-callout", env, "--config", w.settings(),
		"--nats-url", w.url(), "--nats-ca-file", w.ca(), "--issuer", w.provider.Issuer(), "--project", project,
		"--device-organization", devicesOrganization, "--organizations", peopleOrganization, "--listen", address,
		"--issuer-seed-file", w.secretFile(names.SecretCallout, names.KeyIssuerSeed),
		"--xkey-seed-file", w.secretFile(names.SecretCallout, names.KeyXKeySeed)).ready(address)
}

// device is a real one: an agent on Podman, with a directory that outlives its releases.
type device struct {
	id, dir, config string
	agent           *process
}

// enrol makes a device's identity and its configuration, as the previous release
// understands it.
func (w *world) enrol(id string) *device {
	w.t.Helper()
	_, err := w.provider.AddUser(devprovider.User{ID: id, Organization: devicesOrganization, Machine: true, TokenType: devprovider.JWT})
	w.must(err)
	w.must(w.provider.GrantRole(id, devprovider.Role{Project: project, Key: "device", Organization: devicesOrganization}))
	key, err := w.provider.AddKey(id, time.Now().AddDate(1, 0, 0))
	w.must(err)
	d := &device{id: id, dir: w.t.TempDir()}
	keyFile := filepath.Join(d.dir, "key.json")
	w.must(os.WriteFile(keyFile, key, 0o600))
	d.config = filepath.Join(d.dir, "config.toml")
	text := fmt.Sprintf(`device_id = %q
data_dir = %q
[labels]
site = "lab"
[nats]
url = %q
ca_file = %q
[auth]
mode = "zitadel-jwt"
issuer = %q
project_id = %q
key_file = %q
allow_plaintext = true
[podman]
socket = %q
[report]
pulse_interval = "1s"
`, id, d.dir, w.url(), w.ca(), w.provider.Issuer(), project, keyFile, w.podman.Socket())
	w.must(os.WriteFile(d.config, []byte(text), 0o600))
	return d
}

// run starts the device's agent of a release, in the place of one that runs, and waits
// until the log knows.
func (d *device) run(w *world, of release) {
	w.t.Helper()
	if d.agent != nil {
		d.agent.stop()
	}
	d.agent = w.start(of, d.id, "fleet-agent", nil, "--config", d.config)
	w.eventually(d.id+" says that it is of "+of.version, func(ctx context.Context) error {
		kv, err := w.js.KeyValue(ctx, eventlog.BucketInfo)
		if err != nil {
			return err
		}
		e, err := kv.Get(ctx, eventlog.InfoKey(d.id))
		if err != nil {
			return err
		}
		var info eventlog.DeviceInfo
		if err := json.Unmarshal(e.Value(), &info); err != nil {
			return err
		}
		if info.Inventory.AgentVersion != of.version {
			return fmt.Errorf("it is of %s", info.Inventory.AgentVersion)
		}
		return nil
	})
	if aside, _ := filepath.Glob(filepath.Join(d.dir, "*.damaged-*")); len(aside) > 0 {
		w.t.Errorf("the agent of %s could not read what the one before it remembered: %v", of.version, aside)
	}
}
