package operator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// world is a Kubernetes API, a NATS server, and operators that the test starts.
type world struct {
	t      testing.TB
	api    *localapitest.Cluster
	server *natstest.Server // nil in a cluster
	raw    func(tb testing.TB, subject, header, data string)
	dial   func(testing.TB, ...nats.Option) (*nats.Conn, jetstream.JetStream)
	nc     *nats.Conn
	js     jetstream.JetStream
	fleet  versioned.Interface
}

func newWorld(t testing.TB) *world {
	t.Helper()
	api := localapitest.Private(t)
	server := natstest.Start(t)
	nc, js := server.Connect(t)
	return &world{t: t, api: api, server: server, raw: server.Raw, dial: server.Connect, nc: nc, js: js, fleet: clients(t, api)}
}

// newClusteredWorld has three NATS servers, and three replicas of each stream.
func newClusteredWorld(t testing.TB) *world {
	t.Helper()
	api := localapitest.Private(t)
	servers := natstest.Cluster(t, 3)
	nc, js := servers.Connect(t)
	return &world{t: t, api: api, raw: servers.Nodes[0].Raw, dial: servers.Connect, nc: nc, js: js, fleet: clients(t, api)}
}

func clients(t testing.TB, api *localapitest.Cluster) versioned.Interface {
	t.Helper()
	c, err := versioned.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// replica is an operator that runs.
type replica struct {
	*operator.Operator
	registry *prometheus.Registry
	stop     func()
}

// operate starts an operator; it is stopped at the test's end at the latest.
func (w *world) operate(change ...func(*operator.Options)) *replica {
	w.t.Helper()
	nc, _ := w.dial(w.t)
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	o := operator.Options{
		Conn: nc, RestConfig: w.api.Config, Identity: "op-1",
		ListenAddr: "127.0.0.1:0", Registry: prometheus.NewRegistry(),
		// A busy machine takes the lease away from none, nor a device, which pulses once, off the network.
		LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 200 * time.Millisecond,
		PulseInterval: 5 * time.Minute,
		Logger:        slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: level})),
	}
	for _, c := range change {
		c(&o)
	}
	op, err := operator.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- op.Run(ctx) }()
	r := &replica{Operator: op, registry: o.Registry}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("operator: %v", err)
		}
	})
	w.t.Cleanup(r.stop)
	return r
}

// get asks the replica's HTTP server.
func (r *replica) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + r.Addr(t.Context()).String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// ready waits until the replica says that it is of use.
func (r *replica) ready(t *testing.T) {
	t.Helper()
	eventually(t, "the replica is ready", func() string {
		if code, text := r.get(t, "/readyz"); code != http.StatusOK {
			return fmt.Sprint(code, " ", text)
		}
		return ""
	})
}

// online waits until the operator hears so many devices.
func (r *replica) online(t *testing.T, devices int) {
	t.Helper()
	eventually(t, "all devices are online", func() string {
		if n := r.metricOf(t, "fleet_operator_devices", "True"); int(n) != devices {
			return fmt.Sprint(n)
		}
		return ""
	})
}

// metric reads one metric, labels summed up.
func (r *replica) metric(t *testing.T, name string) float64 {
	t.Helper()
	all, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range all {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// timeout is what a busy machine may take for what it does in seconds when it is idle.
const timeout = 2 * time.Minute

// eventually polls until the condition says nothing against it.
func eventually(t testing.TB, what string, against func() string) {
	t.Helper()
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

// device plays an agent by plain NATS: it reports info and pulse, and says of
// whatever it is told that it runs.
type device struct {
	w      *world
	id     string
	labels map[string]string
	live   atomic.Int64
	mute   atomic.Bool
}

func (w *world) device(id string, labels map[string]string) *device {
	w.t.Helper()
	d := &device{w: w, id: id, labels: labels}
	_, err := w.nc.Subscribe(eventlog.LiveSubject(id, "*"), func(m *nats.Msg) {
		d.live.Add(1)
		if d.mute.Load() || len(m.Data) == 0 {
			if len(m.Data) == 0 {
				_, name, _ := eventlog.ParseDesiredKV(m.Header.Get("Nats-Subject"))
				w.publish(&nats.Msg{Subject: eventlog.StateSubject(id, name), Header: nats.Header{"KV-Operation": {"DEL"}}})
			}
			return
		}
		_, name, _ := eventlog.ParseDesiredKV(m.Header.Get("Nats-Subject"))
		d.report(name, eventlog.PhaseRunning, eventlog.Hash(m.Data), "")
	})
	if err != nil {
		w.t.Fatal(err)
	}
	d.info()
	d.pulse()
	return d
}

func (d *device) info() {
	d.w.json(eventlog.InfoSubject(d.id), eventlog.DeviceInfo{
		DeviceID: d.id, Labels: d.labels, UpdatedAt: time.Now(),
		Inventory: eventlog.Inventory{Hostname: d.id, Arch: "arm64", CPUCores: 4, MemoryMB: 3906, AgentVersion: "1.2.3"},
	})
}

func (d *device) pulse() {
	b, err := json.Marshal(eventlog.Heartbeat{DeviceID: d.id, At: time.Now()})
	if err == nil {
		err = d.w.nc.Publish(eventlog.PulseSubject(d.id), b) // the next one makes up for one lost
	}
	if err != nil && !d.w.nc.IsClosed() {
		d.w.t.Error(err)
	}
}

func (d *device) report(name string, phase eventlog.Phase, hash, failure string) {
	s := eventlog.DeploymentState{DeviceID: d.id, Deployment: name, Phase: phase, ScoreHash: hash, LastEventAt: time.Now()}
	if failure != "" {
		s.LastError, s.Reason = &failure, "ImagePullFailed"
	}
	d.w.json(eventlog.StateSubject(d.id, name), s)
}

func (w *world) json(subject string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		w.t.Error(err)
		return
	}
	w.publish(&nats.Msg{Subject: subject, Data: b})
}

// publish says something to the log, and says it again where its stream has no leader for a
// moment, as an agent does.
func (w *world) publish(m *nats.Msg) {
	_, err := w.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(40), jetstream.WithRetryWait(250*time.Millisecond), jetstream.WithStallWait(20*time.Second))
	if err != nil && !w.nc.IsClosed() {
		w.t.Error(err)
	}
}

// heard waits until the server, which was away, knows again what the devices listen to.
func (w *world) heard() {
	w.t.Helper()
	eventually(w.t, "the devices are connected again", func() string {
		if !w.nc.IsConnected() {
			return w.nc.Status().String()
		}
		if err := w.nc.Flush(); err != nil {
			return err.Error()
		}
		return ""
	})
}

// logged waits until there is a log that takes what devices say.
func (w *world) logged() {
	w.t.Helper()
	eventually(w.t, "the log", func() string {
		if _, err := logstream.Inspect(w.t.Context(), w.js); err != nil {
			return err.Error()
		}
		return ""
	})
}

// labelled waits until the log knows the labels of devices: who comes after a Deployment is no
// part of its rollout, nor of what a status says at first.
func (w *world) labelled(ids ...string) {
	w.t.Helper()
	eventually(w.t, "the log knows the devices' labels", func() string {
		got := w.told(eventlog.FamilyDevice)
		for _, id := range ids {
			if !slices.Contains(got, string(eventlog.DeviceRelabeled)+" "+id) {
				return fmt.Sprintf("%s is not among %v", id, got)
			}
		}
		return ""
	})
}

func deployment(ns, name, image string, selector map[string]string) *v1alpha1.Deployment {
	return &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchLabels: selector},
			Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{
				Services: []v1alpha1.Service{{Name: "main", Image: image}},
			}},
			Rollout: v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
		},
	}
}

func (w *world) apply(d *v1alpha1.Deployment) *v1alpha1.Deployment {
	w.t.Helper()
	c := w.fleet.FleetV1alpha1().Deployments(d.Namespace)
	made, err := c.Create(w.t.Context(), d, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

func (w *world) deployment(ns, name string) *v1alpha1.Deployment {
	w.t.Helper()
	d, err := w.fleet.FleetV1alpha1().Deployments(ns).Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// ready waits for a Deployment's condition Ready to have a reason.
func (w *world) ready(ns, name, reason string) *v1alpha1.Deployment {
	w.t.Helper()
	var d *v1alpha1.Deployment
	eventually(w.t, fmt.Sprintf("%s/%s is Ready for the reason %s", ns, name, reason), func() string {
		d = w.deployment(ns, name)
		c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil {
			return "no condition"
		}
		if c.Reason != reason || c.ObservedGeneration != d.Generation {
			return fmt.Sprintf("%s %s (%s), generation %d of %d", c.Status, c.Reason, c.Message, c.ObservedGeneration, d.Generation)
		}
		return ""
	})
	return d
}

// told lists the log as "type subject", without the common prefix.
func (w *world) told(families ...eventlog.Family) []string {
	w.t.Helper()
	var got []string
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		for _, f := range families {
			if e.Address.Family == f {
				got = append(got, string(e.Type)+" "+strings.Trim(e.Address.Device+" "+e.Address.Namespace+"/"+e.Address.Name+e.Address.Deployment, " /"))
			}
		}
	}
	return got
}

func (w *world) desired(key string) string {
	w.t.Helper()
	kv, err := w.js.KeyValue(w.t.Context(), eventlog.BucketDesired)
	if err != nil {
		return "no bucket: " + err.Error()
	}
	v, err := kv.Get(w.t.Context(), key)
	if err != nil {
		return ""
	}
	return string(v.Value())
}

// counting counts the status patches of Deployments at the API.
type counting struct {
	next http.RoundTripper
	mu   sync.Mutex
	at   []time.Time
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/deployments/") && strings.HasSuffix(r.URL.Path, "/status") {
		c.mu.Lock()
		c.at = append(c.at, time.Now())
		c.mu.Unlock()
	}
	return c.next.RoundTrip(r)
}

// since is how many patches have begun since then.
func (c *counting) since(from time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, at := range c.at {
		if !at.Before(from) {
			n++
		}
	}
	return n
}

// idle waits until no patch has begun for two seconds, so that none which is due
// already is counted among those that come.
func (c *counting) idle(t *testing.T) {
	t.Helper()
	eventually(t, "no patch for two seconds", func() string {
		if n := c.since(time.Now().Add(-2 * time.Second)); n > 0 {
			return fmt.Sprintf("%d patches", n)
		}
		return ""
	})
}

func (c *counting) wrap(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { c.next = next; return c })
	return config
}

func msg(subject, data string) *nats.Msg { return &nats.Msg{Subject: subject, Data: []byte(data)} }

func contains(s, part string) bool { return strings.Contains(s, part) }
