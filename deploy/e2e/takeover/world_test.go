//go:build e2e

// Package takeover_test kills and stops the leading one of real fleet-operator processes
// while rollouts are in each of their phases, on one NATS server and on three.
package takeover_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/devicetest"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// timeout is how long anything may take, on a machine that does much else at the same
// time.
const timeout = 2 * time.Minute

// world is a Kubernetes API, NATS servers and devices. Its operators are processes.
type world struct {
	t        *testing.T
	api      *localapitest.Cluster
	kube     *versioned.Clientset
	url      string
	replicas int
	nc       *nats.Conn
	js       jetstream.JetStream
	fleet    *devicetest.Fleet
	ns       string
}

func newWorld(t *testing.T, servers int) *world {
	t.Helper()
	w := &world{t: t, replicas: servers, api: localapitest.Private(t)}
	if servers == 1 {
		s := natstest.Start(t)
		w.url = s.URL()
		w.nc, w.js = s.Connect(t)
	} else {
		s := natstest.Cluster(t, servers)
		w.url = s.URL()
		w.nc, w.js = s.Connect(t)
	}
	var err error
	if w.kube, err = versioned.NewForConfig(w.api.Config); err != nil {
		t.Fatal(err)
	}
	w.ns = w.api.Namespace(t)
	return w
}

// process is one replica of the operator.
type process struct {
	w        *world
	identity string
	address  string
	cmd      *exec.Cmd
	log      string // a file
	ended    chan struct{}
}

// operate starts a replica and waits until it knows what it is to know.
func (w *world) operate(identity string) *process {
	w.t.Helper()
	p := &process{
		w: w, identity: identity, address: fmt.Sprintf("127.0.0.1:%d", natstest.FreePort(w.t)),
		log: filepath.Join(w.t.TempDir(), identity+".log"), ended: make(chan struct{}),
	}
	out, err := os.Create(p.log)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	p.cmd = exec.Command(built.Program(w.t, "fleet-operator"), "--nats-url", w.url, "--kubeconfig", w.api.API.Kubeconfig,
		"--identity", identity, "--replicas", strconv.Itoa(w.replicas), "--pulse-interval", "3s", "--listen", p.address)
	p.cmd.Stderr = out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { defer close(p.ended); _ = p.cmd.Wait() }()
	w.t.Cleanup(p.kill)
	w.eventually(identity+" is ready", func() error {
		_, err := p.get("/readyz")
		return err
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.w.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.w.t.Error(err)
	}
}

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
	if p.w.t.Failed() {
		b, err := os.ReadFile(p.log)
		p.w.t.Logf("%s (%v):\n%s", p.identity, err, b[max(0, len(b)-4<<10):])
	}
}

func (p *process) get(path string) (string, error) {
	client := http.Client{Timeout: 2 * time.Second}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, b)
	}
	return string(b), err
}

// leads says whether the replica itself holds that it leads.
func (p *process) leads() error {
	b, err := p.get("/metrics")
	if err == nil && !strings.Contains(b, "\nfleet_operator_leader 1\n") {
		err = fmt.Errorf("%s does not lead", p.identity)
	}
	return err
}

// eventually polls until nothing is against it.
func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	for deadline := time.Now().Add(timeout); ; time.Sleep(50 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %s: %v", what, timeout, err)
		}
	}
}

// read reads the log, again where its stream has no leader for a while.
func (w *world) read(subjects ...string) (all []eventlog.Event) {
	w.t.Helper()
	w.eventually("the log is read", func() error {
		all = nil
		for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: subjects}) {
			if err != nil {
				return err
			}
			all = append(all, e)
		}
		return nil
	})
	return all
}

// elections lists the leaders that the log had.
func (w *world) elections() (names []string, events []eventlog.Event) {
	w.t.Helper()
	events = w.read(eventlog.LeaderSubject)
	for _, e := range events {
		l, err := eventlog.Payload[eventlog.Leader](e)
		if err != nil {
			w.t.Fatal(err)
		}
		names = append(names, l.Identity)
	}
	return names, events
}

// apply applies a Deployment as kubectl apply does. Its devices are those of its group.
func (w *world) apply(name, image, rollout string) {
	w.t.Helper()
	body := fmt.Sprintf(`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":%q,"namespace":%q},
		"spec":{"targetSelector":{"matchLabels":{"group":%q}},"score":{"type":"PodmanV0","data":{"services":[{"name":"main","image":%q}]}},"rollout":%s}}`,
		name, w.ns, name, image, rollout)
	_, err := w.kube.FleetV1alpha1().Deployments(w.ns).Patch(w.t.Context(), name, types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) status(name string) *v1alpha1.RolloutStatus {
	w.t.Helper()
	d, err := w.kube.FleetV1alpha1().Deployments(w.ns).Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	if d.Status.Rollout == nil || d.Status.ObservedGeneration != d.Generation {
		return &v1alpha1.RolloutStatus{}
	}
	return d.Status.Rollout
}

// request asks for something about a rollout as fleetctl does: about what is there now.
func (w *world) request(verb, name string) {
	w.t.Helper()
	s := w.status(name)
	d, err := eventlog.NewDraft(eventlog.RequestSubject("ada", w.ns, name), eventlog.RequestMade, time.Now(), eventlog.Request{
		Verb: verb, Reason: "the test wants it", Revision: uint64(s.Revision), Run: uint64(s.Run), Batch: int(s.Batch),
	})
	if err == nil {
		_, err = appender.Unfenced(w.t.Context(), w.js, "test", d)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// told lists what the log says of a Deployment's rollouts.
func (w *world) told(name string) (said []string) {
	w.t.Helper()
	for _, e := range w.read(eventlog.DeploymentSubject(w.ns, name)) {
		text, ok := strings.CutPrefix(string(e.Type), "rollout.")
		if !ok {
			continue
		}
		var r eventlog.Rollout
		if err := json.Unmarshal(e.Data, &r); err != nil {
			w.t.Fatal(err)
		}
		switch {
		case e.Type == eventlog.RolloutStarted:
			text += " " + r.Kind
		case r.Batch > 0:
			text += fmt.Sprint(" ", r.Batch)
		}
		said = append(said, text)
	}
	return said
}
