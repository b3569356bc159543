package operator_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog/devicetest"
	"fleet.nationtech.io/eventlog/needs"
)

// What an operator has not looked at is not done, for kubectl and for kstatus (Flux,
// Helm 4), on whatever API server has the CRDs.
func TestWhatNoOperatorHasSeenIsInProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.applyBudget("lab", 1)
	client, err := dynamic.NewForConfig(w.api.Config)
	if err != nil {
		t.Fatal(err)
	}
	for resource, get := range map[string]func(string) (*unstructured.Unstructured, error){
		"deployments": func(r string) (*unstructured.Unstructured, error) {
			return client.Resource(v1alpha1.SchemeGroupVersion.WithResource(r)).Namespace(ns).Get(t.Context(), "web", metav1.GetOptions{})
		},
		"disruptionbudgets": func(r string) (*unstructured.Unstructured, error) {
			return client.Resource(v1alpha1.SchemeGroupVersion.WithResource(r)).Get(t.Context(), "lab", metav1.GetOptions{})
		},
	} {
		o, err := get(resource)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := status.Compute(o); err != nil || got.Status != status.InProgressStatus {
			t.Errorf("%s that no operator has seen: kstatus says %+v (error %v), want InProgress", resource, got, err)
		}
	}
}

// A person applies a manifest three times: a good one, one whose rollout fails, and one
// that mends it. At each patch that anybody can see, what is ready is what the devices run;
// kubectl wait comes back with the right answer; and kubectl diff is empty all the time.
func TestKubectlWaitAndDiffDuringRollouts(t *testing.T) {
	t.Parallel()
	needs.Program(t, "kubectl", "apt-get install kubernetes-client")
	w := newWorld(t)
	first := w.operate(pulsed)
	w.logged()
	const devices = 12
	fleet := w.simulated(devices, func(int) map[string]string { return map[string]string{"site": "lab"} })
	ns := w.api.Namespace(t)
	first.online(t, devices)
	file := filepath.Join(t.TempDir(), "web.yaml")
	watched := w.watchPatches(ns, fleet)
	apply := func(image, deadline string) {
		text := fmt.Sprintf(`apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: web, namespace: %s, annotations: {kubernetes.io/change-cause: to %s}}
spec:
  targetSelector: {matchLabels: {site: lab}}
  rollout:
    batches: [{size: 1, soak: 2s}, {size: 50%%, soak: 1s}, {soak: 1s}]
    maxUnavailable: 50%%
    progressDeadline: %s
  score: {type: PodmanV0, data: {services: [{name: main, image: "%s"}]}}
`, ns, image, deadline, image)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := w.kubectl("apply", "-f", file); code != 0 {
			t.Fatalf("kubectl apply: %s", out)
		}
	}
	differs := func() {
		if out, code := w.kubectl("diff", "-f", file); code != 0 {
			t.Errorf("kubectl diff: exit code %d:\n%s", code, out)
		}
	}
	wait := func(condition string) {
		t.Helper()
		done := make(chan string, 1)
		go func() {
			out, code := w.kubectl("wait", "fleetdep/web", "-n", ns, "--for=condition="+condition, "--timeout="+timeout.String())
			done <- strings.TrimPrefix(fmt.Sprintf("exit code %d: %s", code, out), "exit code 0: ")
		}()
		for {
			differs()
			select {
			case said := <-done:
				if !strings.Contains(said, "condition met") {
					t.Fatalf("kubectl wait --for=condition=%s: %s; the status is %+v", condition, said, w.deployment(ns, "web").Status)
				}
				return
			case <-t.Context().Done():
				t.Fatal("the test ends")
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	runs := func(image string) {
		t.Helper()
		if said := fleet.Unlike(image); said != "" {
			t.Errorf("kubectl wait says Ready of %s, and %s", image, said)
		}
	}
	const ample, soon = "300s", "6s" // a slow machine must not fail the good ones
	apply("app:1", ample)
	wait("Ready")
	runs("app:1")
	fleet.Set("app:2", devicetest.Fails)
	apply("app:2", soon)
	wait("Stalled")
	apply("app:3", ample)
	wait("Ready")
	runs("app:3")
	if n := watched(); n < 10 {
		t.Errorf("%d patches were seen, want those of three rollouts", n)
	}
}

// watchPatches reads each status that the API server shows of a namespace's Deployments,
// as those who wait do. The function it returns ends that, and counts them.
func (w *world) watchPatches(ns string, fleet *devicetest.Fleet) (seen func() int) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	client, err := dynamic.NewForConfig(w.api.Config)
	if err != nil {
		w.t.Fatal(err)
	}
	events, err := client.Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(ns).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	n, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		for e := range events.ResultChan() {
			if o, ok := e.Object.(*unstructured.Unstructured); ok && e.Type != watch.Deleted {
				n++
				w.notFooled(o, fleet)
			}
		}
	}()
	stop := func() int { cancel(); <-done; return n }
	w.t.Cleanup(func() { stop() })
	return stop
}

// notFooled fails the test where an object looks done and the fleet is not as it says.
func (w *world) notFooled(o *unstructured.Unstructured, fleet *devicetest.Fleet) {
	var d v1alpha1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
		w.t.Errorf("read a Deployment: %v", err)
		return
	}
	ready := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionReady)
	waited := ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration >= d.Generation
	by, err := status.Compute(o)
	if err != nil {
		w.t.Errorf("kstatus: %v", err)
		return
	}
	if waited != (by.Status == status.CurrentStatus) {
		w.t.Errorf("generation %d of %s: kubectl wait takes it for done: %v; kstatus says %s (%s)", d.Generation, d.Name, waited, by.Status, by.Message)
	}
	image := d.Spec.Score.Data.Services[0].Image
	now, err := w.fleet.FleetV1alpha1().Deployments(d.Namespace).Get(context.Background(), d.Name, metav1.GetOptions{})
	if !waited || err != nil || now.Generation != d.Generation {
		return // changed since, so the devices are on their way to something else
	}
	if said := fleet.Unlike(image); said != "" {
		w.t.Errorf("generation %d of %s is ready (%s), and %s", d.Generation, d.Name, ready.Message, said)
	}
	if d.Status.ObservedGeneration != d.Generation || d.Status.Rollout == nil || d.Status.Rollout.Phase != v1alpha1.RolloutCompleted {
		w.t.Errorf("generation %d of %s is ready, and its rollout is %+v", d.Generation, d.Name, d.Status.Rollout)
	}
}

// kubectl runs the real one as the API server's administrator.
func (w *world) kubectl(args ...string) (string, int) {
	c := exec.Command("kubectl", append([]string{"--kubeconfig", w.api.API.Kubeconfig, "--cache-dir", w.api.API.Kubeconfig + "-cache"}, args...)...)
	c.Env = append(os.Environ(), "KUBECTL_EXTERNAL_DIFF=")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil && c.ProcessState == nil {
		w.t.Errorf("kubectl: %v", err)
		return err.Error(), -1
	}
	return out.String(), c.ProcessState.ExitCode()
}
