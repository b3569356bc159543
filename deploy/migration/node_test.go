package migration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/memory"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
)

// touched counts what is done to containers.
type touched struct {
	engine.Engine
	n atomic.Int64
}

func (e *touched) Create(ctx context.Context, s engine.Spec) (string, error) {
	e.n.Add(1)
	return e.Engine.Create(ctx, s)
}

func (e *touched) Start(ctx context.Context, id string) error {
	e.n.Add(1)
	return e.Engine.Start(ctx, id)
}

func (e *touched) Stop(ctx context.Context, id string) error {
	e.n.Add(1)
	return e.Engine.Stop(ctx, id)
}

func (e *touched) Remove(ctx context.Context, id string) error {
	e.n.Add(1)
	return e.Engine.Remove(ctx, id)
}

// node is a device: its containers, and the agent that looks after them.
type node struct {
	id     string
	engine *touched
	stop   func()
}

func newNode(t *testing.T, id string) *node {
	t.Helper()
	m, err := memory.New(memory.Options{Device: id, StateFile: filepath.Join(t.TempDir(), "containers.json")})
	if err != nil {
		t.Fatal(err)
	}
	return &node{id: id, engine: &touched{Engine: m}}
}

// agent starts an agent on the device, with a data directory that is new: it knows
// nothing but what it finds.
func (n *node) agent(t *testing.T, url string) {
	t.Helper()
	c := config.Default()
	c.DeviceID, c.DataDir, c.Labels = n.id, t.TempDir(), map[string]string{"site": "lab"}
	c.NATS = config.NATS{URL: url, AllowPlaintext: true}
	c.Auth.User, c.Auth.Password = accounts.DeviceUser(n.id), "p"
	c.Podman.Engine = config.EngineMemory
	c.Report.PulseInterval = config.Duration(200 * time.Millisecond)
	a, err := agent.New(c, agent.Options{Engine: n.engine, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-a.Ready()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("agent %s: %v", n.id, err)
		}
	})
	t.Cleanup(n.stop)
}

// containers are the ids of what runs, with their restarts.
func (n *node) containers(t *testing.T) (ids []string) {
	t.Helper()
	found, err := n.engine.Observe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found {
		ids = append(ids, fmt.Sprintf("%s %s %v", c.ID, c.State, c.StartedAt))
	}
	return ids
}

// running counts the containers that run: one that is made only would be started later.
func (n *node) running(t *testing.T) (count int) {
	t.Helper()
	found, err := n.engine.Observe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found {
		if c.State == engine.StateRunning {
			count++
		}
	}
	return count
}

// old is an agent that knows the KV API alone. It restarts a Deployment where the
// content of its score changes.
type old struct {
	id  string
	end context.CancelFunc

	mu      sync.Mutex
	runs    map[string]any // by Deployment
	changed int            // starts and stops
}

// watch follows the device's desired state on a server, and reports.
func (o *old) watch(t *testing.T, js jetstream.JetStream, labels map[string]string) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	o.end = end
	kv := map[string]jetstream.KeyValue{}
	for _, b := range eventlog.Buckets() {
		var err error
		if kv[b], err = js.KeyValue(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	put := func(bucket, key string, v any) {
		b, err := json.Marshal(v)
		if err == nil {
			_, err = kv[bucket].Put(ctx, key, b)
		}
		if err != nil && ctx.Err() == nil {
			t.Errorf("%s: put %s: %v", o.id, key, err)
		}
	}
	put(eventlog.BucketInfo, eventlog.InfoKey(o.id), eventlog.DeviceInfo{DeviceID: o.id, Labels: labels})
	w, err := kv[eventlog.BucketDesired].Watch(ctx, o.id+".>")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for e := range w.Updates() {
			if e == nil {
				continue
			}
			_, name, _ := eventlog.ParseDesiredKV(eventlog.KVSubject(eventlog.BucketDesired, e.Key()))
			var content any
			if e.Operation() == jetstream.KeyValuePut && json.Unmarshal(e.Value(), &content) != nil {
				t.Errorf("%s cannot read %s", e.Key(), e.Value())
			}
			o.mu.Lock()
			if !reflect.DeepEqual(o.runs[name], content) {
				o.runs[name], o.changed = content, o.changed+1
			}
			o.mu.Unlock()
			put(eventlog.BucketState, eventlog.StateKey(o.id, name), originalState{o.id, name, "Running", time.Now(), nil})
			put(eventlog.BucketHeartbeat, eventlog.HeartbeatKey(o.id), eventlog.Heartbeat{DeviceID: o.id, At: time.Now()})
		}
	}()
}

func (o *old) changes() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// target is the new fleet's NATS, with the accounts of the product.
func newTarget(t *testing.T, devices, legacy []string) *natstest.Server {
	t.Helper()
	u := accounts.Users{Operator: accounts.Login{User: "operator", Password: "p"}}
	for _, d := range devices {
		u.Devices = append(u.Devices, accounts.Device{ID: d, Password: "p"})
	}
	for _, d := range legacy {
		u.Legacy = append(u.Legacy, accounts.Device{ID: d, Password: "p"})
	}
	text, err := accounts.Render(u, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return natstest.Start(t, natstest.Config(t, string(text)))
}
