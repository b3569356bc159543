package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/memory"
	"fleet.nationtech.io/agent/engine/podman"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/buckets"
)

// accounts are the two of the contract, with what crosses between them. Here
// stands just what the agent needs; who may do what is the business of
// deploy/accounts and its tests.
const accounts = `
accounts {
  FLEET {
    jetstream: enabled
    users: [{ user: fleet, password: fleet }]
    exports: [
      { service: "fleet.evt.state.*.*", accounts: [DEVICES] }, { service: "fleet.evt.info.*", accounts: [DEVICES] }
      { service: "fleet.evt.agent.*", accounts: [DEVICES] }, { service: "fleet.pulse.*", accounts: [DEVICES] }
      { service: "fleet.sync.*", accounts: [DEVICES], response_type: Stream }
      { stream: "fleet.live.desired.*.*", accounts: [DEVICES] }
    ]
    imports: [{ service: { account: DEVICES, subject: "device-commands.>" }, share: true }]
  }
  DEVICES {
    users: [{ user: pi-01, password: secret }]
    imports: [
      { service: { account: FLEET, subject: "fleet.evt.state.*.*" } }, { service: { account: FLEET, subject: "fleet.evt.info.*" } }
      { service: { account: FLEET, subject: "fleet.evt.agent.*" } }, { service: { account: FLEET, subject: "fleet.pulse.*" } }
      { service: { account: FLEET, subject: "fleet.sync.*" } }
      { stream: { account: FLEET, subject: "fleet.live.desired.*.*" } }
    ]
    exports: [{ service: "device-commands.>", accounts: [FLEET], response_type: Stream }]
  }
}`

const device = "pi-01"

// world is a server with the log and its buckets, and what an operator does.
type world struct {
	t      *testing.T
	server *natstest.Server
	nc     *nats.Conn
	js     jetstream.JetStream
	dir    string // of the device
	// engine runs the containers; nil is a memory engine for each agent, which
	// remembers its containers in the device's directory, as Podman would.
	engine engine.Engine
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: natstest.Start(t, natstest.Config(t, accounts)), dir: t.TempDir()}
	w.nc, w.js = w.server.Connect(t, nats.UserInfo("fleet", "fleet"))
	ctx := t.Context()
	if _, err := logstream.Ensure(ctx, w.js, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err := buckets.Ensure(ctx, w.js, buckets.Config{}); err != nil {
		t.Fatal(err)
	}
	natstest.AnswerSync(w.t, w.nc, w.js)
	return w
}

// agent starts the device's agent.
func (w *world) agent() (stop func()) {
	w.t.Helper()
	c := config.Default()
	c.DeviceID, c.DataDir, c.Labels = device, w.dir, map[string]string{"site": "lab"}
	c.NATS = config.NATS{URL: w.server.URL(), AllowPlaintext: true}
	c.Auth.User, c.Auth.Password = device, "secret"
	c.Podman.Engine = config.EngineMemory
	c.Report.PulseInterval = config.Duration(100 * time.Millisecond)
	if _, onPodman := w.engine.(*podman.Podman); !onPodman {
		m, err := memory.New(memory.Options{Device: device, StateFile: filepath.Join(w.dir, "containers.json")})
		if err != nil {
			w.t.Fatal(err)
		}
		w.engine = m
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	a, err := agent.New(c, agent.Options{Engine: w.engine, Logger: log})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-a.Ready()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the agent ended with %v", err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// assign appends a desired value, and gives its hash.
func (w *world) assign(deployment string, revision uint64, services string) string {
	w.t.Helper()
	value, err := eventlog.Score{Type: "PodmanV0", Data: json.RawMessage(`{"services":` + services + `}`)}.Canonical()
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(eventlog.Draft{
		Subject: eventlog.DesiredSubject(device, deployment), Type: eventlog.DesiredAssigned, Time: time.Now(),
		Namespace: "default", Revision: revision, Data: value,
	})
	return eventlog.Hash(value)
}

func (w *world) withdraw(deployment string) {
	w.t.Helper()
	w.append(eventlog.Draft{Subject: eventlog.DesiredSubject(device, deployment), Type: eventlog.DesiredWithdrawn, Time: time.Now()})
}

func (w *world) append(d eventlog.Draft) {
	w.t.Helper()
	if _, err := appender.Unfenced(w.t.Context(), w.js, "test", d); err != nil {
		w.t.Fatal(err)
	}
}

// value reads a bucket's key as any KV client does.
func value[T any](w *world, bucket, key string) (v T, ok bool) {
	w.t.Helper()
	kv, err := w.js.KeyValue(w.t.Context(), bucket)
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := kv.Get(w.t.Context(), key)
	if err != nil {
		return v, false
	}
	if err := json.Unmarshal(e.Value(), &v); err != nil {
		w.t.Fatalf("%s %s: %v", bucket, key, err)
	}
	return v, true
}

func (w *world) state(deployment string) (eventlog.DeploymentState, bool) {
	return value[eventlog.DeploymentState](w, eventlog.BucketState, eventlog.StateKey(device, deployment))
}

// awaitPhase waits for the report of a phase for a desired value.
func (w *world) awaitPhase(deployment string, phase eventlog.Phase, hash string) eventlog.DeploymentState {
	w.t.Helper()
	var s eventlog.DeploymentState
	w.await(fmt.Sprintf("%s is %s", deployment, phase), func() bool {
		var ok bool
		s, ok = w.state(deployment)
		return ok && s.Phase == phase && s.ScoreHash == hash
	})
	return s
}

func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	// For machines that do much else at the same time; a connection alone may be
	// tried again only after 15 s.
	const timeout = 90 * time.Second
	for deadline := time.Now().Add(timeout); !ok(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s", timeout, what)
		}
		time.Sleep(20 * time.Millisecond) // poll
	}
}

// journal counts the agent's events by type.
func (w *world) journal() map[eventlog.Type]int {
	w.t.Helper()
	count := map[eventlog.Type]int{}
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: []string{eventlog.AgentSubject(device)}}) {
		if err != nil {
			w.t.Fatal(err)
		}
		count[e.Type]++
	}
	return count
}
