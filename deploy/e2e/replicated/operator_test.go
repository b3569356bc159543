//go:build e2e

// Package replicated_test runs the real operator on three NATS servers with the
// accounts of production, every stream in three replicas, under attack.
package replicated_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/e2e/hostile"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

const mallory = "mallory"

// cluster is three servers, a Kubernetes API and an operator.
type cluster struct {
	t    *testing.T
	nats *natstest.Servers
	kube *versioned.Clientset
	js   jetstream.JetStream // the operator's account
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	login := func(user string) accounts.Login { return accounts.Login{User: user, Password: "p"} }
	text, err := accounts.Render(accounts.Users{
		Operator: login("operator"), Lab: login("lab"), Devices: []accounts.Device{{ID: mallory, Password: "p"}},
	}, accounts.RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := accounts.Server{Name: "n", Port: -1, StoreDir: t.TempDir()}
	c := &cluster{t: t, nats: natstest.Cluster(t, 3, natstest.Config(t, string(server.Render())+string(text)))}
	api := localapitest.Private(t)
	if c.kube, err = versioned.NewForConfig(api.Config); err != nil {
		t.Fatal(err)
	}
	nc, js := c.as("operator")
	c.js = js
	op, err := operator.New(operator.Options{
		Conn: nc, RestConfig: api.Config, Identity: "the-operator", Replicas: 3, PulseInterval: time.Second,
		// Nobody else wants the Lease: a busy machine must not cost it.
		LeaseDuration: 60 * time.Second, RenewDeadline: 50 * time.Second, RetryPeriod: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- op.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the operator ended with %v", err)
		}
	})
	return c
}

func (c *cluster) as(user string, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	c.t.Helper()
	return c.nats.Connect(c.t, append([]nats.Option{nats.UserInfo(user, "p")}, options...)...)
}

func (c *cluster) eventually(most time.Duration, check func() error) {
	c.t.Helper()
	for deadline := time.Now().Add(most); ; time.Sleep(100 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("not within %v: %v", most, err)
		}
	}
}

// device is an honest one: it lives, follows its desired state and reports what
// it was told, each report until it is acknowledged.
func (c *cluster) device(ctx context.Context, id string) {
	nc, _ := c.as("lab", nats.CustomInboxPrefix(eventlog.InboxPrefix(id)))
	c.report(ctx, nc, eventlog.InfoSubject(id), fmt.Appendf(nil, `{"device_id":%q,"labels":{"site":"lab"},"inventory":{},"updated_at":"2026-01-01T00:00:00Z"}`, id))
	live, err := nc.SubscribeSync(eventlog.LiveSubject(id, eventlog.Wildcard))
	if err != nil {
		c.t.Error(err)
		return
	}
	for ctx.Err() == nil {
		_ = nc.Publish(eventlog.PulseSubject(id), fmt.Appendf(nil, `{"device_id":%q,"at":%q}`, id, time.Now().UTC().Format(time.RFC3339)))
		m, err := live.NextMsg(500 * time.Millisecond)
		if err != nil {
			continue
		}
		_, deployment, _ := eventlog.ParseDesiredKV(m.Header.Get(eventlog.HeaderSubject))
		c.report(ctx, nc, eventlog.StateSubject(id, deployment), fmt.Appendf(nil,
			`{"device_id":%q,"deployment":%q,"phase":"Running","last_event_at":%q,"last_error":null,"score_hash":%q}`,
			id, deployment, time.Now().UTC().Format(time.RFC3339), eventlog.Hash(m.Data)))
	}
}

func (c *cluster) report(ctx context.Context, nc *nats.Conn, subject string, body []byte) {
	m := nats.NewMsg(subject)
	m.Header.Set(jetstream.MsgIDHeader, ulid.Make().String())
	m.Data = body
	for ctx.Err() == nil {
		answer, err := nc.RequestMsg(m, 2*time.Second)
		var ack jetstream.PubAck
		if err == nil && json.Unmarshal(answer.Data, &ack) == nil && ack.Sequence > 0 {
			return
		}
	}
}

func (c *cluster) apply(revision int) error {
	body := fmt.Appendf(nil, `{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":"hello","namespace":"default"},
		"spec":{"targetSelector":{"matchLabels":{"site":"lab"}},"score":{"type":"PodmanV0","data":{"services":[{"name":"web","image":"app:%d"}]}},"rollout":{"strategy":"Immediate"}}}`, revision)
	_, err := c.kube.FleetV1alpha1().Deployments("default").Patch(context.Background(), "hello", types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "test"})
	return err
}

// On three servers, a device that holds all batches open, claims the fence and
// burns ids neither stops nor deposes the operator, and no honest device's
// report is lost: each of five changes reaches all thirty devices and is counted.
func TestAHostileDeviceNeitherStopsNorDeposesTheOperator(t *testing.T) {
	const devices, changes = 30, 5
	c := newCluster(t)
	c.eventually(3*time.Minute, func() error { _, err := c.elections(); return err })
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer func() { cancel(); all.Wait() }()
	for i := range devices {
		all.Go(func() { c.device(ctx, fmt.Sprintf("d-%02d", i)) })
	}
	if err := c.apply(0); err != nil {
		t.Fatal(err)
	}
	c.eventually(3*time.Minute, func() error { return c.counted(devices) })
	before, err := c.elections()
	if err != nil {
		t.Fatal(err)
	}

	attacked := time.Now()
	attack := hostile.Begin(mallory, before[len(before)-1].Sequence, func() *nats.Conn {
		nc, _ := c.as(accounts.DeviceUser(mallory), nats.CustomInboxPrefix(eventlog.InboxPrefix(mallory)))
		return nc
	})
	defer attack.Stop()
	for change := range changes {
		began := time.Now()
		if err := c.apply(change + 1); err != nil {
			t.Fatal(err)
		}
		c.eventually(3*time.Minute, func() error { return c.counted(devices) })
		t.Logf("change %d: on all %d devices after %v, %d hostile messages so far", change+1, devices, time.Since(began).Round(10*time.Millisecond), attack.Sent.Load())
	}
	attack.Stop()

	after, err := c.elections()
	if err != nil {
		t.Fatal(err)
	}
	// Who can be deposed is deposed all the time. An append whose answer a busy
	// machine gave too late, after 10 s, makes the operator elect itself again.
	took := time.Since(attacked)
	if anew := len(after) - len(before); anew > int(took/(10*time.Second)) {
		t.Errorf("%d elections in %v of the attack: the operator was deposed", anew, took)
	}
	told, reported := map[string]int{}, map[string]int{}
	for e, err := range reader.Read(t.Context(), c.js, reader.Options{Subjects: []string{
		eventlog.FamilySubjects(eventlog.FamilyDesired), eventlog.StateSubject(eventlog.Wildcard, "hello"),
	}}) {
		if err != nil {
			t.Fatal(err)
		}
		switch e.Type {
		case eventlog.DesiredAssigned:
			told[e.Address.Device]++
		case eventlog.StateReported:
			reported[e.Address.Device]++
		}
	}
	for i := range devices {
		id := fmt.Sprintf("d-%02d", i)
		if told[id] != changes+1 {
			t.Errorf("%s was told %d times, want %d: nothing twice, nothing lost", id, told[id], changes+1)
		}
		if reported[id] == 0 {
			t.Errorf("no report of %s is in the log", id)
		}
	}
}

// elections are what the log holds of leaders; none is an error.
func (c *cluster) elections() ([]eventlog.Event, error) {
	var all []eventlog.Event
	for e, err := range reader.Read(c.t.Context(), c.js, reader.Options{Subjects: []string{eventlog.LeaderSubject}}) {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no leader was elected")
	}
	return all, nil
}

// counted says whether the newest generation succeeded on that many devices.
func (c *cluster) counted(devices int) error {
	d, err := c.kube.FleetV1alpha1().Deployments("default").Get(context.Background(), "hello", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if a := d.Status.Aggregate; a == nil || int(a.Succeeded) != devices || d.Status.ObservedGeneration != d.Generation {
		b, _ := json.Marshal(d.Status)
		return fmt.Errorf("generation %d: status %s", d.Generation, b)
	}
	return nil
}
