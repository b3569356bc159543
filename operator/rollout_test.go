package operator_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/devicetest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/projections/rollout/rollouttest"
)

// simulated starts devices of that many, with their labels.
func (w *world) simulated(n int, labels func(i int) map[string]string) *devicetest.Fleet {
	w.t.Helper()
	all := map[string]map[string]string{}
	for i := range n {
		all[fmt.Sprintf("pi-%03d", i)] = labels(i)
	}
	return devicetest.Start(w.t, w.nc, w.js, all)
}

// lawful holds the log against the laws of a rollout's log: budgets at each grant, soaks
// at each success, nothing past a failure or a pause.
func (w *world) lawful() {
	w.t.Helper()
	var log []eventlog.Event
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		log = append(log, e)
	}
	if err := rollouttest.CheckLog(log); err != nil {
		w.t.Errorf("the log breaks laws:\n%v", err)
	}
}

// setImage changes the image of a Deployment, as GitOps does.
func (w *world) setImage(ns, name, image string) {
	w.t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/score/data/services/0/image","value":%q}]`, image)
	if _, err := w.fleet.FleetV1alpha1().Deployments(ns).Patch(w.t.Context(), name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// setImageWithin changes the image of a Deployment and its progressDeadline at once.
func (w *world) setImageWithin(ns, name, image, deadline string) {
	w.t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/score/data/services/0/image","value":%q},{"op":"replace","path":"/spec/rollout/progressDeadline","value":%q}]`, image, deadline)
	if _, err := w.fleet.FleetV1alpha1().Deployments(ns).Patch(w.t.Context(), name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// phase waits until a rollout is in a phase.
func (w *world) phase(ns, name string, revision int64, want v1alpha1.RolloutPhase) v1alpha1.DeploymentStatus {
	w.t.Helper()
	var s v1alpha1.DeploymentStatus
	eventually(w.t, fmt.Sprintf("revision %d is %s", revision, want), func() string {
		s = w.deployment(ns, name).Status
		if s.Rollout == nil || s.Rollout.Phase != want || s.Revision != revision {
			return fmt.Sprintf("%+v", s.Rollout)
		}
		return ""
	})
	return s
}

// assignedImages counts the assignments of each image on each device, in the log.
func (w *world) assignedImages() map[string]map[string]int {
	w.t.Helper()
	n := map[string]map[string]int{}
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: []string{eventlog.FamilySubjects(eventlog.FamilyDesired)}}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Type != eventlog.DesiredAssigned {
			continue
		}
		_, rest, _ := strings.Cut(string(e.Data), `"image":"`)
		image, _, _ := strings.Cut(rest, `"`)
		if n[image] == nil {
			n[image] = map[string]int{}
		}
		n[image][e.Address.Device]++
	}
	return n
}

// rollouts lists the rollout events of a Deployment.
func (w *world) rollouts(ns, name string) (said []string) {
	w.t.Helper()
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: []string{eventlog.DeploymentSubject(ns, name)}}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if text, ok := strings.CutPrefix(string(e.Type), "rollout."); ok {
			var r eventlog.Rollout
			if err := json.Unmarshal(e.Data, &r); err != nil {
				w.t.Fatal(err)
			}
			if r.Batch > 0 {
				text += fmt.Sprint(" ", r.Batch)
			}
			said = append(said, text)
		}
	}
	return said
}

// metricOf reads one metric of one label value.
func (r *replica) metricOf(t testing.TB, name, value string) float64 {
	t.Helper()
	all, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == value {
				return m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func shortRollout(t testing.TB, text string) v1alpha1.RolloutSpec {
	t.Helper()
	var r v1alpha1.RolloutSpec
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// pulsed makes an operator listen to devices that pulse each second. A busy machine takes none
// of them off the network.
func pulsed(o *operator.Options) { o.PulseInterval = 4 * time.Second }

// Two hundred devices, a broken update, one that takes devices off the network, and a
// good one, while leaders are stopped in between.
func TestRolloutsOfTwoHundredDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.operate(pulsed)
	w.logged()
	const devices = 200
	fleet := w.simulated(devices, func(int) map[string]string { return map[string]string{"site": "lab"} })
	ns := w.api.Namespace(t)
	first.online(t, devices)
	d := deployment(ns, "web", "app:1", map[string]string{"site": "lab"})
	const ample, soon = "300s", "20s" // a slow machine, or a leader that changes, must not fail the good ones
	d.Spec.Rollout = shortRollout(t, `{"batches":[{"size":2,"soak":"2s"},{"size":"20%","soak":"1s"},{"soak":"1s"}],"maxUnavailable":"30%","progressDeadline":"`+ample+`"}`)
	w.apply(d)
	w.phase(ns, "web", 1, v1alpha1.RolloutCompleted)
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)

	fleet.Set("app:2", devicetest.Fails)
	w.setImageWithin(ns, "web", "app:2", soon)
	s := w.phase(ns, "web", 2, v1alpha1.RolloutPaused)
	if s.Rollout.Reason != v1alpha1.ReasonBatchFailed || s.Rollout.Failed != 2 || s.Rollout.Waiting != devices-2 {
		t.Errorf("a broken update: %+v", s.Rollout)
	}
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	if ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.ReasonBatchFailed || !meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionStalled) {
		t.Errorf("conditions of a broken update: %+v", s.Conditions)
	}
	if len(s.Failures) != 1 || s.Failures[0].Reason != "ContainerExited" || s.Failures[0].Count != 2 {
		t.Errorf("failures %+v", s.Failures)
	}

	fleet.Set("app:3", devicetest.Bricks)
	w.setImage(ns, "web", "app:3")
	w.phase(ns, "web", 3, v1alpha1.RolloutPaused)
	if n := len(w.assignedImages()["app:3"]); n != 2 {
		t.Errorf("an image that takes devices off the network reached %d devices, want the first batch of 2", n)
	}
	fleet.Set("app:3", devicetest.Runs)
	fleet.On(fleet.Have("app:3")...)

	w.setImageWithin(ns, "web", "app:4", ample)
	eventually(t, "the first batch is out", func() string {
		if n := len(w.assignedImages()["app:4"]); n < 2 {
			return fmt.Sprint(n)
		}
		return ""
	})
	first.stop() // between its batches
	second := w.operate(pulsed, func(o *operator.Options) { o.Identity = "op-2" })
	eventually(t, "the second batch is out", func() string {
		if n := len(w.assignedImages()["app:4"]); n <= 2 {
			return fmt.Sprint(n)
		}
		return ""
	})
	second.stop()
	w.operate(pulsed, func(o *operator.Options) { o.Identity = "op-3" })
	w.phase(ns, "web", 4, v1alpha1.RolloutCompleted)
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	assigned := w.assignedImages()
	for image, most := range map[string]int{"app:1": devices, "app:2": 2, "app:3": 2, "app:4": devices} {
		if n := len(assigned[image]); n != most {
			t.Errorf("%d devices were given %s, want %d", n, image, most)
		}
		for id, n := range assigned[image] {
			if n != 1 {
				t.Errorf("%s was given %s %d times", id, image, n)
			}
		}
	}
	batches := []string{"started", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "batch_started 3", "batch_succeeded 3", "completed"}
	want := append(append([]string{}, batches...), "started", "batch_failed 1", "paused 1", "superseded", "started", "batch_failed 1", "paused 1", "superseded")
	want = append(want, batches...)
	if diff := cmp.Diff(want, w.rollouts(ns, "web")); diff != "" {
		t.Errorf("rollout events (-want +got):\n%s", diff)
	}
	w.lawful()
	core, err := kubernetes.NewForConfig(w.api.Config)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Kubernetes Events", func() string {
		events, err := core.EventsV1().Events(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		reasons := map[string]int{}
		for _, e := range events.Items {
			reasons[e.Reason]++
		}
		if reasons["BatchFailed"] != 2 || reasons["RolloutCompleted"] != 2 {
			return fmt.Sprintf("by reason: %v", reasons)
		}
		return ""
	})
}
