package migration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/agent"
	"fleet.nationtech.io/agent/config"
	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/engine/memory"
	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/export"
	"fleet.nationtech.io/deploy/migration"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/buckets"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/verify"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// eventually polls until nothing speaks against the condition.
func eventually(t *testing.T, what string, against func() string) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		why := against()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still: %s", what, why)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

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

func TestDevicesKeepTheirContainersThroughAMigration(t *testing.T) {
	t.Parallel()
	early, late, kept := []string{"new-1", "new-2"}, []string{"new-3", "new-4"}, []string{"old-1", "old-2"}
	devices := append(append([]string{}, early...), late...)

	// The containers come from agents whose fleet is given up.
	past := newTarget(t, devices, nil)
	pastNC, pastJS := past.Connect(t, nats.UserInfo("operator", "p"))
	if _, err := logstream.Ensure(t.Context(), pastJS, logstream.Config{}); err != nil {
		t.Fatal(err)
	}
	if _, err := buckets.Ensure(t.Context(), pastJS, buckets.Config{}); err != nil {
		t.Fatal(err)
	}
	natstest.AnswerSync(t, pastNC, pastJS)
	nodes := map[string]*node{}
	for _, id := range devices {
		nodes[id] = newNode(t, id)
		nodes[id].agent(t, past.URL())
		for name, image := range images() {
			if _, err := appender.Unfenced(t.Context(), pastJS, "test", eventlog.Draft{
				Subject: eventlog.DesiredSubject(id, name), Type: eventlog.DesiredAssigned, Time: time.Now(), Namespace: "default", Revision: 1, Data: canonical(t, scoreOn(name, image)),
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range devices {
		eventually(t, id+" runs all", func() string { return cmp.Diff(len(images()), len(nodes[id].containers(t))) })
	}

	// Four buckets, as the original operator and agents left them.
	source := newOriginal(t)
	for _, id := range devices {
		source.put(eventlog.BucketInfo, eventlog.InfoKey(id), eventlog.DeviceInfo{DeviceID: id, Labels: map[string]string{"site": "lab"}})
	}
	for _, id := range append(append([]string{}, devices...), kept...) {
		for name, image := range images() {
			source.put(eventlog.BucketDesired, eventlog.DesiredKey(id, name), scoreOn(name, image))
		}
	}
	source.settle()
	olds := map[string]*old{}
	for _, id := range kept {
		olds[id] = &old{id: id, runs: map[string]any{}}
		olds[id].watch(t, source.js, map[string]string{"site": "lab"})
		eventually(t, id+" runs all", func() string { return cmp.Diff(len(images()), olds[id].changes()) })
	}
	for _, id := range devices {
		for name := range images() {
			source.put(eventlog.BucketState, eventlog.StateKey(id, name), originalState{id, name, "Running", time.Now(), nil})
		}
	}
	source.settle()
	for _, id := range kept {
		for name := range images() {
			eventually(t, id+" has reported "+name, func() string {
				_, err := source.kv[eventlog.BucketState].Get(t.Context(), eventlog.StateKey(id, name))
				return errText(err)
			})
		}
	}
	before := map[string][]string{}
	for id, n := range nodes {
		n.stop()
		before[id] = n.containers(t)
		n.engine.n.Store(0)
	}

	// Some agents are connected to the new servers before anything is there.
	server := newTarget(t, devices, kept)
	nc, js := server.Connect(t, nats.UserInfo("operator", "p"))
	for _, id := range early {
		nodes[id].agent(t, server.URL())
	}
	r := run(t, source.read(), nc, js)
	if len(r.Refused) > 0 || len(r.Differences) > 0 {
		t.Fatalf("refused %v, differences %v", r.Refused, r.Differences)
	}
	imported, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}

	// The custom resources: one from the person's own file, one out of the log, and one
	// that nobody applies.
	v, err := asof.At(t.Context(), js, asof.Moment{}, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := export.Of(v)
	if err != nil {
		t.Fatal(err)
	}
	api := localapitest.Private(t)
	crs, err := versioned.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(objects.Deployments, []fleet.Key{{Namespace: "shop", Name: "camera"}, {Namespace: "shop", Name: "hello"}, {Namespace: "shop", Name: "lonely"}}) {
		t.Fatalf("objects: %v", objects.Deployments)
	}
	known := slices.DeleteFunc(splitYAML(objects.YAML), func(doc []byte) bool { return bytes.Contains(doc, []byte("name: lonely")) })
	applyObjects(t, api, crs, bytes.Join(known, []byte("---\n")), []byte(`
apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: hello, namespace: shop}
spec:
  targetSelector: {matchLabels: {site: lab}}
  score:
    type: PodmanV0
    data:
      services:
      - ports: ["8081:80"]
        image: hello:1
        name: hello
`))
	operate(t, server, api)
	placed := func(name string) {
		t.Helper()
		eventually(t, name+" is on all its devices", func() string {
			d, err := crs.FleetV1alpha1().Deployments("shop").Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
			if a := d.Status.Aggregate; c == nil || a == nil || a.MatchedDeviceCount != 6 || a.Succeeded != 6 {
				return fmt.Sprintf("%+v %+v", c, a) // the operator's own rollout soaks for minutes, and gives no device anything
			}
			return ""
		})
	}
	placed("hello")
	placed("camera")

	// The other agents are changed one by one; the old ones go on over the KV API.
	for _, id := range late {
		nodes[id].agent(t, server.URL())
		eventually(t, id+" reports to the log itself", func() string {
			m, err := reader.LastMessage(t.Context(), js, eventlog.LogStream, eventlog.StateSubject(id, "hello"))
			if err != nil {
				return err.Error()
			}
			return cmp.Diff("", eventlog.HeaderValue(m.Header, eventlog.HeaderSource))
		})
	}
	for _, id := range kept {
		olds[id].end()
		_, theirs := server.Connect(t, nats.UserInfo(accounts.LegacyUser(id), "p"))
		olds[id].watch(t, theirs, map[string]string{"site": "lab"})
	}
	placed("hello")
	placed("camera")
	time.Sleep(2 * time.Second) // a window in which anything that is owed would come
	for id, n := range nodes {
		if touched := n.engine.n.Load(); touched != 0 || !cmp.Equal(before[id], n.containers(t)) {
			t.Errorf("%s: containers were touched %d times:\n%s", id, touched, cmp.Diff(before[id], n.containers(t)))
		}
	}
	for id, o := range olds {
		if n := o.changes(); n != len(images()) {
			t.Errorf("%s started or stopped something %d times after the change", id, n-len(images()))
		}
	}
	orphaned := false
	for e, err := range reader.Read(t.Context(), js, reader.Options{From: imported.Last + 1}) {
		if err != nil {
			t.Fatal(err)
		}
		orphaned = orphaned || e.Type == eventlog.DeploymentOrphaned && e.Address.Name == "lonely"
		if e.Address.Family == eventlog.FamilyDesired {
			t.Errorf("the operator told a device something: %s on %s, revision %d", e.Type, e.Subject, e.Revision)
		}
	}
	if !orphaned {
		t.Error("the Deployment without a custom resource is not orphaned")
	}
	got, err := verify.Run(t.Context(), js, verify.Options{})
	if err != nil || got.Differences() > 0 {
		t.Errorf("verify: %v, %+v", err, got)
	}
}

// operate runs an operator until the test ends.
func operate(t *testing.T, server *natstest.Server, api *localapitest.Cluster) {
	t.Helper()
	nc, _ := server.Connect(t, nats.UserInfo("operator", "p"))
	op, err := operator.New(operator.Options{
		Conn: nc, RestConfig: api.Config, Identity: "op", LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 200 * time.Millisecond,
		PulseInterval: time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- op.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("operator: %v", err)
		}
	})
}

// Nothing that the devices report tells those with the Deployment from the others, so
// all hangs on the labels that the import gives to them.
func TestDevicesThatAreMarkedKeepTheirDeployment(t *testing.T) {
	t.Parallel()
	const all, members = 215, 205
	source := newOriginal(t)
	for i := range all {
		id := deviceID(i)
		source.put(eventlog.BucketInfo, eventlog.InfoKey(id), eventlog.DeviceInfo{DeviceID: id, Labels: map[string]string{"site": "lab"}})
		if i < members {
			source.put(eventlog.BucketDesired, eventlog.DesiredKey(id, "hello"), scoreOn("hello", "hello:1"))
		}
	}
	source.settle()
	server := newTarget(t, nil, nil)
	nc, js := server.Connect(t, nats.UserInfo("operator", "p"))
	r := run(t, source.read(), nc, js)
	if len(r.Deployments) != 1 || r.Deployments[0].Guessed != migration.ByMarking {
		t.Fatalf("%+v", r.Deployments)
	}
	imported, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	v, err := asof.At(t.Context(), js, asof.Moment{}, asof.Options{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := export.Of(v)
	if err != nil {
		t.Fatal(err)
	}
	api := localapitest.Private(t)
	crs, err := versioned.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	// The Deployments alone: the Devices with their labels the operator makes.
	applyObjects(t, api, crs, bytes.Join(slices.DeleteFunc(splitYAML(objects.YAML), func(doc []byte) bool { return bytes.Contains(doc, []byte("kind: Device\n")) }), []byte("---\n")))
	operate(t, server, api)
	eventually(t, "all devices are there, and the marked ones are selected", func() string {
		marked, err := crs.FleetV1alpha1().Devices().List(t.Context(), metav1.ListOptions{LabelSelector: "import.fleet.nationtech.io/hello=true"})
		if err != nil {
			return err.Error()
		}
		every, err := crs.FleetV1alpha1().Devices().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		d, err := crs.FleetV1alpha1().Deployments("shop").Get(t.Context(), "hello", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if d.Status.Aggregate == nil {
			return "no status yet"
		}
		return cmp.Diff([]int{all, members, members}, []int{len(every.Items), len(marked.Items), int(d.Status.Aggregate.MatchedDeviceCount)})
	})
	for e, err := range reader.Read(t.Context(), js, reader.Options{From: imported.Last + 1}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Address.Family == eventlog.FamilyDesired {
			t.Errorf("the operator told a device something: %s on %s", e.Type, e.Subject)
		}
	}
}

func errText(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// images are what each Deployment runs.
func images() map[string]string {
	return map[string]string{"hello": "hello:1", "camera": "camera:7", "lonely": "lonely:3"}
}

// scoreOn is a desired value with a port of its own for each Deployment.
func scoreOn(name, image string) []byte {
	port := map[string]string{"hello": "8081:80", "camera": "8082:80", "lonely": "8083:80"}[name]
	return []byte(`{"type":"PodmanV0","data":{"services":[{"name":"` + name + `","image":"` + image + `","ports":["` + port + `"]}]}}`)
}

// applyObjects is kubectl apply --server-side, of one text after the other.
func applyObjects(t *testing.T, api *localapitest.Cluster, crs versioned.Interface, texts ...[]byte) {
	t.Helper()
	for _, text := range texts {
		for _, doc := range splitYAML(text) {
			b, err := yaml.YAMLToJSON(doc)
			if err != nil {
				t.Fatal(err)
			}
			var m metav1.PartialObjectMetadata
			if err := json.Unmarshal(b, &m); err != nil {
				t.Fatal(err)
			}
			yes := true
			o := metav1.PatchOptions{FieldManager: "kubectl", Force: &yes}
			switch m.Kind {
			case "Namespace":
				err = makeNamespace(t, api, m.Name)
			case "Deployment":
				_, err = crs.FleetV1alpha1().Deployments(m.Namespace).Patch(t.Context(), m.Name, types.ApplyPatchType, b, o)
			default:
				err = fmt.Errorf("a %q", m.Kind)
			}
			if err != nil {
				t.Fatalf("apply %s: %v", doc, err)
			}
		}
	}
}
