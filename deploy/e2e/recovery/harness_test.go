//go:build e2e

// Package recovery_test runs the real fleet-dev as a process, does to it what
// happens to processes, clusters and disks, and looks at what is left.
package recovery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"fleet.nationtech.io/agent/engine/podmantest"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/needs"
)

// timeout is how long anything may take, on a machine that does much else at the
// same time. What must be quick says so itself.
const timeout = 120 * time.Second

// atOnce is how long what waits for no interval may take on such a machine: some five seconds on one
// of its own.
const atOnce = 30 * time.Second

// machine is a place where a fleet-dev lives, dies and lives again.
type machine struct {
	t      *testing.T
	dir    string
	engine string
	env    []string // of its processes: a Podman store of its own
	home   string   // where they put what they need for a while; empty without Podman
	cmd    *exec.Cmd
	output bytes.Buffer
	exited chan error
}

// newMachine prefers real Podman. Where every skip is a failure, it accepts
// nothing else.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: filepath.Join(t.TempDir(), "fleet"), engine: "podman"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CONTAINER_HOST=") { // the fleet is to run a Podman of its own
			m.env = append(m.env, kv)
		}
	}
	if why := podmantest.Missing(); why != "" {
		if needs.All(t) {
			podmantest.Require(t)
		}
		m.engine = "memory"
		t.Logf("%s: the containers of this test exist in memory alone", why)
		return m
	}
	home := podmantest.NewHome(t, podmantest.Options{})
	// What a process of this machine makes for a while is in the home too, so that
	// its socket tells whose Podman it is.
	m.home = filepath.Join(home.Dir, "m")
	if err := os.Mkdir(m.home, 0o700); err != nil {
		t.Fatal(err)
	}
	m.env = append(append(m.env, home.Env...), "TMPDIR="+m.home)
	return m
}

func (m *machine) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Env = m.env
	return c
}

// up starts fleet-dev and waits until it says that all is ready.
func (m *machine) up(flags ...string) *fleet {
	m.t.Helper()
	args := append([]string{"up", "--data-dir", m.dir, "--devices", "3", "--engine", m.engine, "--pulse-interval", "1s"}, flags...)
	m.cmd = m.command(built.Program(m.t, "fleet-dev"), args...)
	m.output.Reset()
	m.cmd.Stdout, m.cmd.Stderr = &m.output, &m.output
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.exited = make(chan error, 1)
	go func(c *exec.Cmd) { m.exited <- c.Wait() }(m.cmd)
	m.t.Cleanup(m.kill)
	deadline := time.Now().Add(timeout)
	for {
		if _, err := os.Stat(filepath.Join(m.dir, "env")); err == nil {
			return m.connect()
		}
		select {
		case err := <-m.exited:
			m.exited <- err
			m.t.Fatalf("fleet-dev ended: %v\n%s%s", err, m.output.String(), m.logs())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("fleet-dev is not ready after %s:\n%s%s", timeout, m.output.String(), m.logs())
		}
	}
}

// logs are the ends of what the parts wrote down.
func (m *machine) logs() string {
	var all strings.Builder
	for _, name := range []string{"fleet.log", "nats.log", "kubeapi.log", "podman.log"} {
		const most = 4 << 10
		b, err := os.ReadFile(filepath.Join(m.dir, name))
		if err != nil {
			b = []byte(err.Error())
		}
		fmt.Fprintf(&all, "\n%s:\n%s\n", name, b[max(0, len(b)-most):])
	}
	return all.String()
}

// kill is kill -9, and the proof that no child outlives it.
func (m *machine) kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	err := <-m.exited
	m.exited <- err
	_ = os.Remove(filepath.Join(m.dir, "env")) // what a dead fleet left behind is no sign of life
	children := m.dir
	if m.home != "" {
		children += "|podman system service .*" + m.home
	}
	// Podman finishes what it has in hand, which takes a container's grace.
	m.eventually(timeout, func() error {
		out, err := exec.Command("pgrep", "-af", children).Output()
		var none *exec.ExitError
		if errors.As(err, &none) {
			return nil
		}
		return fmt.Errorf("children of the dead fleet-dev: %s", out)
	})
	m.cmd = nil
}

// stop is Ctrl-C.
func (m *machine) stop() {
	m.t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGINT); err != nil {
		m.t.Fatal(err)
	}
	select {
	case err := <-m.exited:
		m.exited <- err
		if err != nil {
			m.t.Fatalf("fleet-dev ended badly: %v\n%s", err, m.output.String())
		}
	case <-time.After(timeout):
		m.t.Fatalf("fleet-dev has not stopped after %s:\n%s", timeout, m.output.String())
	}
	m.cmd = nil
}

func (m *machine) eventually(most time.Duration, check func() error) {
	m.t.Helper()
	deadline := time.Now().Add(most)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("not within %s: %v", most, err)
		}
		time.Sleep(50 * time.Millisecond) // poll
	}
}

// container is what Podman says of one.
type container struct {
	ID      string            `json:"Id"`
	Started int64             `json:"StartedAt"`
	State   string            `json:"State"`
	Labels  map[string]string `json:"Labels"`
	Names   []string          `json:"Names"`
}

// containers lists the containers of a Deployment, by name.
func (m *machine) containers(deployment string) map[string]container {
	m.t.Helper()
	if m.engine != "podman" {
		return m.remembered(deployment)
	}
	var list []container
	for try := 1; ; try++ {
		out, err := m.command("podman", "ps", "-a", "--format", "json").Output()
		if err == nil {
			err = json.Unmarshal(out, &list)
		}
		if err == nil {
			break
		}
		var failed *exec.ExitError
		if !errors.As(err, &failed) || !podmantest.MetRemoval(string(failed.Stderr)) || try == 10 {
			m.t.Fatalf("podman ps: %v: %s", err, out)
		}
	}
	got := map[string]container{}
	for _, c := range list {
		if strings.Contains(c.Names[0], "-"+deployment+"-") {
			got[c.Names[0]] = c
		}
	}
	return got
}

// remembered stands in for Podman: the ids that the devices report.
func (m *machine) remembered(deployment string) map[string]container {
	m.t.Helper()
	f := m.connect()
	got := map[string]container{}
	for d, s := range f.states(deployment) {
		for _, sv := range s.Services {
			got[d+"-"+sv.Name] = container{ID: sv.ContainerID, State: sv.State, Names: []string{d}}
		}
	}
	return got
}

// fleet is a connection to a running one.
type fleet struct {
	*machine
	kube *versioned.Clientset
	js   jetstream.JetStream
	env  map[string]string
}

func (m *machine) connect() *fleet {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dir, "env"))
	if err != nil {
		m.t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		env[k] = strings.Trim(v, "'")
	}
	config, err := clientcmd.BuildConfigFromFlags("", env["KUBECONFIG"])
	if err != nil {
		m.t.Fatal(err)
	}
	kube, err := versioned.NewForConfig(config)
	if err != nil {
		m.t.Fatal(err)
	}
	nc, err := nats.Connect(env["FLEET_NATS_URL"], nats.UserInfo(env["FLEET_NATS_USER"], env["FLEET_NATS_PASSWORD"]), nats.Timeout(atOnce))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		m.t.Fatal(err)
	}
	return &fleet{machine: m, kube: kube, js: js, env: env}
}

// apply is kubectl apply --server-side of a Deployment on all devices of the lab.
func (f *fleet) apply(name, revision string) error {
	d := v1alpha1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab"}},
			Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{
				Name: "web", Image: "localhost/fleet-hello:1", Ports: []string{"8080"}, Env: map[string]v1alpha1.EnvValue{"GREETING": v1alpha1.EnvValue(revision)},
			}}}},
			Rollout: v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
		},
	}
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	force := true
	_, err = f.kube.FleetV1alpha1().Deployments("default").Patch(context.Background(), name, types.ApplyPatchType, b, metav1.PatchOptions{FieldManager: "kubectl", Force: &force})
	return err
}

func (f *fleet) condition(name string) (metav1.Condition, *v1alpha1.Deployment, error) {
	d, err := f.kube.FleetV1alpha1().Deployments("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return metav1.Condition{}, nil, err
	}
	if c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		return *c, d, nil
	}
	return metav1.Condition{}, d, nil
}

// ready waits until the newest generation succeeded on all three devices.
func (f *fleet) ready(name string) {
	f.t.Helper()
	f.eventually(timeout, func() error {
		c, d, err := f.condition(name)
		if err != nil {
			return err
		}
		if c.Status != metav1.ConditionTrue || c.ObservedGeneration != d.Generation || d.Status.Aggregate == nil || d.Status.Aggregate.Succeeded != 3 {
			return fmt.Errorf("%s: generation %d, Ready=%s %s %q (observed %d)", name, d.Generation, c.Status, c.Reason, c.Message, c.ObservedGeneration)
		}
		return nil
	})
}

func (f *fleet) states(name string) map[string]eventlog.DeploymentState {
	f.t.Helper()
	kv, err := f.js.KeyValue(context.Background(), eventlog.BucketState)
	if err != nil {
		f.t.Fatal(err)
	}
	got := map[string]eventlog.DeploymentState{}
	for i := range 3 {
		device := fmt.Sprintf("edge-%02d", i+1)
		e, err := kv.Get(context.Background(), eventlog.StateKey(device, name))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		var s eventlog.DeploymentState
		if err := json.Unmarshal(e.Value(), &s); err != nil {
			f.t.Fatal(err)
		}
		got[device] = s
	}
	return got
}

// gone waits until a CR is away.
func (f *fleet) gone(name string) {
	f.t.Helper()
	f.eventually(timeout, func() error {
		_, _, err := f.condition(name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("%s is still there", name)
	})
}
