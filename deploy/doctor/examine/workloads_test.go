package examine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/doctor"
)

// The embedded Kubernetes API has no workloads, so this has a client in memory.
func TestAWorkloadThatIsNotReadyOrNotThereIsFound(t *testing.T) {
	t.Parallel()
	const namespace = "fleet-system"
	replicas := int32(1)
	operator := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: names.Operator},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "registry.example:5000/fleet-operator:v1.2.0"}}},
		}},
	}
	c := cluster{namespace: namespace, client: fake.NewClientset(operator), Kubernetes: doctor.Kubernetes{NotReady: map[string]string{}, Images: map[string]string{}}}
	c.workloads(t.Context())
	if diff := cmp.Diff(map[string]string{"deployment/" + names.Operator: "v1.2.0"}, c.Images); diff != "" {
		t.Error(diff)
	}
	for name, why := range map[string]string{"deployment/" + names.Operator: "0 of 1", "statefulset/" + names.NATS: "it is not in namespace fleet-system"} {
		if !strings.Contains(c.NotReady[name], why) {
			t.Errorf("%s: %q, and not %q", name, c.NotReady[name], why)
		}
	}
	if len(c.NotReady) != 2 || !c.Installed || len(c.Unread) > 0 {
		t.Errorf("%+v", c.Kubernetes)
	}
	none := cluster{namespace: "other", client: fake.NewClientset(operator), Kubernetes: doctor.Kubernetes{NotReady: map[string]string{}, Images: map[string]string{}}}
	if none.workloads(t.Context()); none.Installed || len(none.NotReady) > 0 {
		t.Errorf("where nothing is installed: %+v", none.Kubernetes)
	}
}

func TestTheTagOfAnImageIsWhatFollowsItsName(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{"a/b:v1": "v1", "host:5000/b": "", "host:5000/b:v2": "v2", "b": "", "a/b:v3@sha256:00": "v3"} {
		if got := tag(image); got != want {
			t.Errorf("%s: %q, and not %q", image, got, want)
		}
	}
}
