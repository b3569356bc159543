package fleetctl_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine/memory"
	"fleet.nationtech.io/callout"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator"
)

// recording is a fleet of real parts, whose log the test looks at: a NATS server
// with the accounts, a Kubernetes API, an operator that can be killed, and agents
// with engines in memory.
type recording struct {
	t      *testing.T
	server *natstest.Server
	js     jetstream.JetStream // the operator's
	api    *localapitest.Cluster
	fleet  versioned.Interface
	users  accounts.Users
	kill   func() // the operator
	// dashboard waits until the operator serves it, and says where.
	dashboard func(context.Context) net.Addr
}

const recordedNamespace = "default"

func record(t *testing.T, devices map[string]map[string]string) *recording {
	t.Helper()
	r := &recording{t: t, api: localapitest.Private(t), users: accounts.Users{
		Operator: accounts.Login{User: "operator", Password: "p"},
		People:   []accounts.Person{{Login: accounts.Login{User: "alice", Password: "p"}, Level: callout.Operator}},
	}}
	for id := range devices {
		r.users.Devices = append(r.users.Devices, accounts.Device{ID: id, Password: "p"})
	}
	text, err := accounts.Render(r.users, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.server = natstest.Start(t, natstest.Config(t, string(text)))
	_, r.js = r.server.Connect(t, nats.UserInfo("operator", "p"))
	if r.fleet, err = versioned.NewForConfig(r.api.Config); err != nil {
		t.Fatal(err)
	}
	r.operate("op-1")
	eventually(t, "there is a log", func() string {
		if _, err := logstream.Inspect(t.Context(), r.js); err != nil {
			return err.Error()
		}
		return ""
	})
	for id, labels := range devices {
		r.agent(id, labels)
	}
	return r
}

// operate starts an operator, which saves a checkpoint every few events.
func (r *recording) operate(identity string) {
	r.t.Helper()
	nc, _ := r.server.Connect(r.t, nats.UserInfo("operator", "p"))
	op, err := operator.New(operator.Options{
		Conn: nc, RestConfig: r.api.Config, Identity: identity, PulseInterval: 10 * time.Second, CheckpointEvents: 40, DashboardAddr: "127.0.0.1:0",
		LeaseDuration: 60 * time.Second, RenewDeadline: 50 * time.Second, RetryPeriod: 200 * time.Millisecond, // a busy machine loses no Lease
		Logger: slog.New(slog.NewTextHandler(r.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.dashboard = op.DashboardAddr
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- op.Run(ctx) }()
	killed := false
	r.kill = func() {
		if !killed {
			killed = true
			nc.Close() // first, so that nothing that it still wants to say gets out
			cancel()
			if err := <-done; err != nil {
				r.t.Logf("%s was killed, and said: %v", identity, err)
			}
		}
	}
	r.t.Cleanup(r.kill)
}

// agent starts a device's agent.
func (r *recording) agent(id string, labels map[string]string) {
	r.t.Helper()
	c := config.Default()
	c.DeviceID, c.DataDir, c.Labels = id, filepath.Join(r.t.TempDir(), id), labels
	c.NATS = config.NATS{URL: r.server.URL(), AllowPlaintext: true}
	c.Auth.Mode, c.Auth.User, c.Auth.Password = config.ModeShared, accounts.DeviceUser(id), "p"
	c.Podman.Engine = config.EngineMemory
	c.Report.PulseInterval = config.Duration(time.Second)
	e, err := memory.New(memory.Options{Device: id, StateFile: filepath.Join(c.DataDir, "containers.json")})
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := agent.New(c, agent.Options{Engine: e})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("agent of %s: %v", id, err)
		}
	})
}

// apply makes a Deployment have one service of an image on the devices of a site,
// as a person would.
func (r *recording) apply(name, image string, selector map[string]string) {
	r.t.Helper()
	c := r.fleet.FleetV1alpha1().Deployments(recordedNamespace)
	d, err := c.Get(r.t.Context(), name, metav1.GetOptions{})
	create := apierrors.IsNotFound(err)
	switch {
	case create:
		d = &v1alpha1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: recordedNamespace, Name: name}}
	case err != nil:
		r.t.Fatal(err)
	}
	d.Spec = v1alpha1.DeploymentSpec{
		TargetSelector: metav1.LabelSelector{MatchLabels: selector},
		Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{
			Services: []v1alpha1.Service{{Name: "web", Image: image}},
		}},
		Rollout: v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
	}
	if create {
		_, err = c.Create(r.t.Context(), d, metav1.CreateOptions{})
	} else {
		_, err = c.Update(r.t.Context(), d, metav1.UpdateOptions{})
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// ready waits until a Deployment's condition Ready has a reason, for its present
// generation, on so many devices.
func (r *recording) ready(name, reason string, devices int32) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%s is %s on %d devices", name, reason, devices), func() string {
		d, err := r.fleet.FleetV1alpha1().Deployments(recordedNamespace).Get(r.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		ready := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != reason || ready.ObservedGeneration != d.Generation || d.Status.Aggregate == nil || d.Status.Aggregate.MatchedDeviceCount != devices {
			return fmt.Sprintf("generation %d: %+v, %+v", d.Generation, ready, d.Status.Aggregate)
		}
		return ""
	})
}

// fleetctl runs a command line as alice, an ordinary person.
func (r *recording) fleetctl(args ...string) string {
	r.t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{"FLEET_NATS_URL": r.server.URL(), "FLEET_NATS_USER": "alice", "FLEET_NATS_PASSWORD": "p"}
	code := fleetctl.Run(r.t.Context(), cli.Streams{
		Out: &out, Err: &errs, Now: time.Now, Name: "fleetctl", Getenv: func(k string) string { return env[k] },
	}, args)
	if code != cli.ExitOK {
		r.t.Fatalf("fleetctl %v: exit code %d\n%s", args, code, errs.String())
	}
	return out.String()
}

// eventually polls until the condition says nothing against it.
func eventually(t *testing.T, what string, against func() string) {
	t.Helper()
	const timeout = 60 * time.Second
	deadline := time.Now().Add(timeout)
	for {
		why := against()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: after %s still: %s", what, timeout, why)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
