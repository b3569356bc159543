package export_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/export"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/projections/asof"
	"fleet.nationtech.io/projections/fleet"
)

// cluster is a Kubernetes API of its own beside a NATS server that goes on.
type cluster struct {
	t     *testing.T
	api   *localapitest.Cluster
	fleet versioned.Interface
	nats  *natstest.Server
	nc    *nats.Conn
	js    jetstream.JetStream
}

func newCluster(t *testing.T, server *natstest.Server) *cluster {
	t.Helper()
	api := localapitest.Private(t)
	crs, err := versioned.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	nc, js := server.Connect(t)
	return &cluster{t: t, api: api, fleet: crs, nats: server, nc: nc, js: js}
}

// operate runs an operator until it is stopped.
func (c *cluster) operate(identity string, adopt bool) (stop func()) {
	c.t.Helper()
	nc, _ := c.nats.Connect(c.t)
	op, err := operator.New(operator.Options{
		Conn: nc, RestConfig: c.api.Config, Identity: identity, AdoptCluster: adopt,
		LeaseDuration: 60 * time.Second, RenewDeadline: 50 * time.Second, RetryPeriod: 200 * time.Millisecond, // a busy machine loses no Lease
		Logger: slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- op.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Errorf("operator: %v", err)
		}
	})
	c.t.Cleanup(stop)
	return stop
}

// eventually polls until nothing speaks against the condition.
func eventually(t *testing.T, what string, against func() string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
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

// device plays an agent that runs whatever it is sent, and counts that.
func (c *cluster) device(id string, labels map[string]string) *atomic.Int64 {
	c.t.Helper()
	var sent atomic.Int64
	say := func(subject string, v any) {
		b, err := json.Marshal(v)
		if err == nil {
			err = c.nc.Publish(subject, b)
		}
		if err != nil {
			c.t.Error(err)
		}
	}
	_, err := c.nc.Subscribe(eventlog.LiveSubject(id, "*"), func(m *nats.Msg) {
		sent.Add(1)
		_, name, _ := eventlog.ParseDesiredKV(m.Header.Get("Nats-Subject"))
		say(eventlog.StateSubject(id, name), eventlog.DeploymentState{
			DeviceID: id, Deployment: name, Phase: eventlog.PhaseRunning, ScoreHash: eventlog.Hash(m.Data), LastEventAt: time.Now(),
		})
	})
	if err != nil {
		c.t.Fatal(err)
	}
	say(eventlog.InfoSubject(id), eventlog.DeviceInfo{DeviceID: id, Labels: labels, UpdatedAt: time.Now()})
	return &sent
}

// desired lists what the log ever told devices to run.
func (c *cluster) desired() []string {
	c.t.Helper()
	var got []string
	for e, err := range reader.Read(c.t.Context(), c.js, reader.Options{}) {
		if err != nil {
			c.t.Fatal(err)
		}
		if e.Address.Family == eventlog.FamilyDesired {
			got = append(got, fmt.Sprintf("%d %s %s.%s", e.Sequence, e.Type, e.Address.Device, e.Address.Deployment))
		}
	}
	return got
}

func (c *cluster) labelled(id string, labels map[string]string) {
	c.t.Helper()
	eventually(c.t, "labels of "+id, func() string {
		d, err := c.fleet.FleetV1alpha1().Devices().Get(c.t.Context(), id, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		return cmp.Diff(labels, d.Labels)
	})
}

func (c *cluster) succeeded(ns, name string) (d *v1alpha1.Deployment) {
	c.t.Helper()
	eventually(c.t, name+" has succeeded", func() string {
		var err error
		if d, err = c.fleet.FleetV1alpha1().Deployments(ns).Get(c.t.Context(), name, metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		r := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
		if r == nil || r.Reason != v1alpha1.ReasonAllSucceeded || r.ObservedGeneration != d.Generation {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	return d
}

func (c *cluster) view() *fleet.View {
	c.t.Helper()
	v, err := asof.At(c.t.Context(), c.js, asof.Moment{}, asof.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// kubectlApply is kubectl apply --server-side of several objects.
func (c *cluster) kubectlApply(docs []byte) {
	c.t.Helper()
	core, err := kubernetes.NewForConfig(c.api.Config)
	if err != nil {
		c.t.Fatal(err)
	}
	o := metav1.PatchOptions{FieldManager: "kubectl"}
	for _, doc := range strings.Split(string(docs), "---\n") {
		b, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			c.t.Fatal(err)
		}
		var m metav1.PartialObjectMetadata
		if err := json.Unmarshal(b, &m); err != nil {
			c.t.Fatal(err)
		}
		switch m.Kind {
		case "Namespace":
			_, err = core.CoreV1().Namespaces().Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: m.Name}}, metav1.CreateOptions{})
		case "Deployment":
			_, err = c.fleet.FleetV1alpha1().Deployments(m.Namespace).Patch(c.t.Context(), m.Name, types.ApplyPatchType, b, o)
		case "DisruptionBudget":
			_, err = c.fleet.FleetV1alpha1().DisruptionBudgets().Patch(c.t.Context(), m.Name, types.ApplyPatchType, b, o)
		case "Device":
			_, err = c.fleet.FleetV1alpha1().Devices().Patch(c.t.Context(), m.Name, types.ApplyPatchType, b, o)
		default:
			err = fmt.Errorf("a %q", m.Kind)
		}
		if err != nil {
			c.t.Fatalf("apply %s: %v", doc, err)
		}
	}
}

func TestTheObjectsOfALogMakeAnEmptyClusterTheSame(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	first := newCluster(t, server)
	stop := first.operate("op-1", false)
	eventually(t, "the log", func() string {
		if _, err := first.js.Stream(t.Context(), eventlog.LogStream); err != nil {
			return err.Error()
		}
		return ""
	})
	sent := first.device("pi-01", map[string]string{"site": "lab"})
	first.labelled("pi-01", map[string]string{v1alpha1.LabelDevice: "pi-01", "site": "lab"})
	devices := first.fleet.FleetV1alpha1().Devices()
	if _, err := devices.Patch(t.Context(), "pi-01", types.MergePatchType, []byte(`{"metadata":{"labels":{"pool":"gold"}}}`), metav1.PatchOptions{FieldManager: "kubectl-label"}); err != nil {
		t.Fatal(err)
	}
	ns := first.api.Namespace(t)
	_, err := first.fleet.FleetV1alpha1().Deployments(ns).Create(t.Context(), &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "web", Annotations: map[string]string{"kubernetes.io/change-cause": "first"}},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab", "pool": "gold"}},
			Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{
				Name: "main", Image: "app:1", Env: map[string]v1alpha1.EnvValue{"A": "1", "B": "x && y\n"},
			}}}},
			Rollout: v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first.succeeded(ns, "web")
	eventually(t, "the rollout is completed", func() string {
		if d := first.view().Deployments[fleet.Key{Namespace: ns, Name: "web"}]; d == nil || d.Rollout.Last != eventlog.RolloutCompleted {
			return fmt.Sprintf("%+v", d)
		}
		return ""
	})
	stop()
	desired, live := first.desired(), sent.Load()
	objects, err := export.Of(first.view())
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(objects.Deployments, []fleet.Key{{Namespace: ns, Name: "web"}}) || !cmp.Equal(objects.Devices, []string{"pi-01"}) {
		t.Fatalf("objects: %+v", objects)
	}

	empty := newCluster(t, server)
	empty.kubectlApply(objects.YAML)
	empty.operate("heir", true)
	d := empty.succeeded(ns, "web")
	empty.labelled("pi-01", map[string]string{v1alpha1.LabelDevice: "pi-01", "site": "lab", "pool": "gold"})
	if d.Status.Revision != 1 {
		t.Errorf("revision %d, want 1", d.Status.Revision)
	}
	if diff := cmp.Diff(desired, empty.desired()); diff != "" {
		t.Errorf("devices were told something (-before +after):\n%s", diff)
	}
	if n := sent.Load(); n != live {
		t.Errorf("the device was sent %d live messages", n-live)
	}
}
