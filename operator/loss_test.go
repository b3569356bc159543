package operator_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/appender"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/operator"
)

// warned waits for a Kubernetes Event of a reason in fleet-system.
func (w *world) warned(reason, says string) {
	w.t.Helper()
	core, err := kubernetes.NewForConfig(w.api.Config)
	if err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, "an Event "+reason, func() string {
		list, err := core.EventsV1().Events("fleet-system").List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		for _, e := range list.Items {
			if e.Reason == reason && e.Type == corev1.EventTypeWarning && contains(e.Note, says) {
				return ""
			}
		}
		return fmt.Sprintf("%d other Events", len(list.Items))
	})
}

// forceOff removes a Deployment's CR without anybody seeing its deletion.
func (w *world) forceOff(ns, name string) {
	w.t.Helper()
	c := w.fleet.FleetV1alpha1().Deployments(ns)
	if _, err := c.Patch(w.t.Context(), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
	if err := c.Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	if _, err := c.Get(w.t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		w.t.Fatalf("the CR is still there: %v", err)
	}
}

func TestAMissingCRIsAnOrphanAndIsAdoptedOrWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	for _, name := range []string{"web", "db"} {
		w.apply(deployment(ns, name, "app:1", map[string]string{"site": "lab"}))
		w.ready(ns, name, v1alpha1.ReasonAllSucceeded)
	}
	op.stop()
	before := w.told(eventlog.FamilyDesired)
	w.forceOff(ns, "web")
	w.forceOff(ns, "db")
	op = w.operate()
	w.warned("DeploymentOrphaned", ns+"/web")
	w.warned("DeploymentOrphaned", "fleetctl withdraw deployment/db")
	eventually(t, "the metric", func() string {
		if n := op.metric(t, "fleet_operator_orphaned_deployments"); n != 2 {
			return fmt.Sprint(n)
		}
		return ""
	})
	w.assigned("pi-01", "web", true)

	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	if diff := cmp.Diff(before, w.told(eventlog.FamilyDesired)); diff != "" {
		t.Errorf("adopting told devices something (-before +after):\n%s", diff)
	}

	d, err := eventlog.NewDraft(eventlog.RequestSubject("alice", ns, "db"), eventlog.RequestMade, time.Now(), eventlog.Request{Verb: eventlog.RequestWithdraw})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := appender.Unfenced(t.Context(), w.js, "test", d); err != nil {
		t.Fatal(err)
	}
	w.assigned("pi-01", "db", false)
	w.assigned("pi-01", "web", true)
	got := w.told(eventlog.FamilyDeployment)
	got = slices.DeleteFunc(got, func(s string) bool { return contains(s, "rollout.") })
	want := []string{
		"deployment.applied " + ns + "/web", "deployment.applied " + ns + "/db",
		"deployment.orphaned " + ns + "/web", "deployment.orphaned " + ns + "/db",
		"deployment.adopted " + ns + "/web", "deployment.applied " + ns + "/web",
		"deployment.deleted " + ns + "/db",
	}
	slices.Sort(want[2:4])
	slices.Sort(got[2:min(4, len(got))])
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}

func TestAnotherClusterChangesNothingUntilItIsToldToAdopt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.operate()
	w.logged()
	pi := w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	pool := "gold"
	w.shows("pi-01", map[string]string{"site": "lab"})
	w.label("pi-01", "pool", &pool, "kubectl-label")
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab", "pool": "gold"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	first.stop()
	info, err := logstream.Inspect(t.Context(), w.js)
	if err != nil {
		t.Fatal(err)
	}
	lives := pi.live.Load()

	empty := &world{t: t, api: localapitest.Private(t), server: w.server, dial: w.dial, nc: w.nc, js: w.js}
	empty.fleet = clients(t, empty.api)
	core, err := kubernetes.NewForConfig(empty.api.Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wrong := empty.operate(func(o *operator.Options) { o.Identity = "wrong" })
	empty.warned("ClusterMismatch", "--adopt-cluster")
	empty.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab", "pool": "gold"}))
	empty.ready(ns, "web", "ClusterMismatch")
	if n := wrong.metric(t, "fleet_operator_cluster_mismatch"); n != 1 {
		t.Errorf("fleet_operator_cluster_mismatch %v", n)
	}
	wrong.stop()
	if after, err := logstream.Inspect(t.Context(), w.js); err != nil || after.Last != info.Last {
		t.Fatalf("the wrong operator appended: the log went from %d to %d (%v)", info.Last, after.Last, err)
	}

	empty.operate(func(o *operator.Options) { o.AdoptCluster = true; o.Identity = "heir" })
	empty.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	empty.shows("pi-01", map[string]string{"site": "lab", "pool": "gold"})
	if got := w.told(eventlog.FamilyDesired); len(got) != 1 {
		t.Errorf("adopting told the device something: %v", got)
	}
	if n := pi.live.Load(); n != lives {
		t.Errorf("the device was sent %d live messages more", n-lives)
	}
}

func TestALostLogIsFilledFromTheClusterAndTakesNothingOffDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate()
	w.logged()
	pi := w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	value := w.desired("pi-01.web")
	for _, how := range []string{"while the operator runs", "while it is down"} {
		if how == "while it is down" {
			op.stop()
		}
		if err := w.js.DeleteStream(t.Context(), eventlog.LogStream); err != nil {
			t.Fatal(err)
		}
		if how == "while it is down" {
			op = w.operate()
		}
		eventually(t, "assigned again "+how, func() string {
			if _, err := logstream.Inspect(t.Context(), w.js); err != nil {
				return err.Error()
			}
			if got := w.told(eventlog.FamilyDesired); !cmp.Equal(got, []string{"desired.assigned pi-01 /web"}) {
				return fmt.Sprint(got)
			}
			return ""
		})
		eventually(t, "the bucket is as before the loss", func() string { return cmp.Diff(value, w.desired("pi-01.web")) })
		pi.info() // as an agent does once it notices another log
		pi.report("web", eventlog.PhaseRunning, eventlog.Hash([]byte(value)), "")
		w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	}
}

func TestALogThatLostItsTailIsCompletedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	pi := w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)

	dir := filepath.Join(w.server.Dir(), "jetstream", "$G", "streams", eventlog.LogStream)
	saved := t.TempDir()
	w.server.Stop()
	if err := os.CopyFS(saved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	w.server.Start()
	w.heard() // what it is told is said once
	w.apply(deployment(ns, "db", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "db", v1alpha1.ReasonAllSucceeded)
	w.server.Stop()
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(saved))); err != nil {
		t.Fatal(err)
	}
	w.server.Start()
	eventually(t, "the log is completed", func() string {
		return cmp.Diff([]string{"desired.assigned pi-01 /web", "desired.assigned pi-01 /db"}, w.told(eventlog.FamilyDesired))
	})
	for _, name := range []string{"web", "db"} {
		w.assigned("pi-01", name, true)
		pi.report(name, eventlog.PhaseRunning, eventlog.Hash([]byte(w.desired("pi-01."+name))), "")
		w.ready(ns, name, v1alpha1.ReasonAllSucceeded)
	}
}

func TestARestartOfTheServerAppendsNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	for i := range 3 {
		w.apply(deployment(ns, fmt.Sprintf("web-%d", i), "app:1", map[string]string{"site": "lab"}))
		w.server.Restart()
	}
	for i := range 3 {
		eventually(t, "settled", func() string {
			d := w.deployment(ns, fmt.Sprintf("web-%d", i))
			if a := d.Status.Aggregate; a == nil || a.MatchedDeviceCount != 1 {
				return fmt.Sprintf("%+v", d.Status)
			}
			return ""
		})
	}
	got := w.told(eventlog.FamilyDesired)
	slices.Sort(got)
	want := []string{"desired.assigned pi-01 /web-0", "desired.assigned pi-01 /web-1", "desired.assigned pi-01 /web-2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}

func TestTheSecondReplicaTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.operate()
	w.logged()
	second := w.operate(func(o *operator.Options) { o.Identity = "op-2" })
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	if a, b := first.metric(t, "fleet_operator_leader"), second.metric(t, "fleet_operator_leader"); a+b != 1 {
		t.Errorf("leaders: %v and %v", a, b)
	}
	second.ready(t)
	first.stop()
	w.apply(deployment(ns, "db", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "db", v1alpha1.ReasonAllSucceeded)
	if n := second.metric(t, "fleet_operator_leader"); n != 1 {
		t.Errorf("the second's fleet_operator_leader: %v", n)
	}
	// Somebody else is elected behind its back: it steps down, and stands again.
	nc, _ := w.server.Connect(t)
	a, err := appender.New(nc, appender.Options{Source: "test"})
	if err != nil {
		t.Fatal(err)
	}
	uid := clusterUID(t, w.api)
	if _, err := a.Elect(t.Context(), eventlog.Leader{Identity: "usurper", ClusterUID: uid}, time.Now()); err != nil {
		t.Fatal(err)
	}
	w.setImage(ns, "db", "app:2")
	d := w.ready(ns, "db", v1alpha1.ReasonAllSucceeded)
	if d.Status.Revision != 2 {
		t.Errorf("revision %d, want 2", d.Status.Revision)
	}
	if c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady); c.Status != metav1.ConditionTrue {
		t.Errorf("Ready=%s", c.Status)
	}
}

func clusterUID(t *testing.T, api *localapitest.Cluster) string {
	t.Helper()
	core, err := kubernetes.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := core.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return string(ns.UID)
}
