//go:build e2ecluster

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
)

// hello is one pod with a claim, a Service inside the cluster and a NodePort.
const hello = `
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: hello, namespace: hello }
spec:
  replicas: 1
  serviceName: hello
  selector: { matchLabels: { app: hello } }
  template:
    metadata: { labels: { app: hello } }
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 2
      securityContext: { runAsNonRoot: true, fsGroup: 65532, seccompProfile: { type: RuntimeDefault } }
      containers:
      - name: hello
        image: localhost/hello:1
        ports: [ { containerPort: 8080 } ]
        readinessProbe: { httpGet: { path: /healthz, port: 8080 }, periodSeconds: 1 }
        securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
        volumeMounts: [ { name: data, mountPath: /data } ]
  volumeClaimTemplates:
  - metadata: { name: data }
    spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Mi } } }
---
apiVersion: v1
kind: Service
metadata: { name: hello, namespace: hello }
spec: { clusterIP: None, selector: { app: hello }, ports: [ { port: 8080 } ] }
---
apiVersion: v1
kind: Service
metadata: { name: hello-outside, namespace: hello }
spec: { type: NodePort, selector: { app: hello }, ports: [ { port: 80, targetPort: 8080, nodePort: 30080 } ] }
`

// The node of the tests is a real one: what runs on it is held to Pod Security, has
// storage, names and a port that is reached from outside, and comes back after each
// program of the node was killed and after its power was cut.
func TestTheNodeIsARealOne(t *testing.T) {
	node := clustertest.Shared(t)
	node.Import(t, clustertest.Program{Image: "localhost/hello:1", File: built.Program(t, "fleet-hello"), Path: "/hello", User: "65532"})
	restrictedNamespace(t, node, "hello")
	if out, err := node.Kubectl(t.Context(), []byte(hello), "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatal(out, err)
	}
	answers := func(t *testing.T, node *clustertest.Node) {
		t.Helper()
		eventually(t, "the NodePort answers", func(ctx context.Context) error {
			body, err := get(ctx, node, 30080)
			if err == nil && !strings.HasPrefix(body, "hello from hello-0") {
				err = fmt.Errorf("it says %q", body)
			}
			return err
		})
	}
	answers(t, node)

	t.Run("a pod without the settings of its namespace is refused", func(t *testing.T) {
		_, err := node.Client.CoreV1().Pods("hello").Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "root"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "root", Image: "localhost/hello:1"}}},
		}, metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "restricted") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("its names are those of a cluster", func(t *testing.T) {
		pod, err := node.Client.CoreV1().Pods("hello").Get(t.Context(), "hello-0", metav1.GetOptions{})
		service, err2 := node.Client.CoreV1().Services("hello").Get(t.Context(), "hello-outside", metav1.GetOptions{})
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"hello-0.hello.hello.svc.cluster.local": pod.Status.PodIP, "hello-outside.hello.svc.cluster.local": service.Spec.ClusterIP,
		} {
			eventually(t, name+" is "+want, func(ctx context.Context) error {
				addresses, err := node.Lookup(ctx, name)
				if err == nil && (len(addresses) != 1 || addresses[0].String() != want) {
					err = fmt.Errorf("it is %v", addresses)
				}
				return err
			})
		}
	})
	claim := func(t *testing.T) types.UID {
		t.Helper()
		c, err := node.Client.CoreV1().PersistentVolumeClaims("hello").Get(t.Context(), "data-hello-0", metav1.GetOptions{})
		if err != nil || c.Status.Phase != corev1.ClaimBound || c.Spec.VolumeName == "" {
			t.Fatalf("the claim: %v, %+v", err, c)
		}
		return c.UID
	}
	before := claim(t)
	for _, program := range []string{"kubelet", "containerd"} {
		t.Run("killed: "+program, func(t *testing.T) {
			pod, err := node.Client.CoreV1().Pods("hello").Get(t.Context(), "hello-0", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			node.Kill(t, program)
			if body, err := get(t.Context(), node, 30080); err != nil {
				t.Errorf("the pod answers %q, %v while %s is away", body, err, program)
			}
			if program == "kubelet" {
				node.AwaitReady(t, killed)
			}
			if err := node.Client.CoreV1().Pods("hello").Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "another pod is Ready", func(ctx context.Context) error { return readyInsteadOf(ctx, node, pod) })
			answers(t, node)
		})
	}
	t.Run("a power cut", func(t *testing.T) {
		node.PowerCut(t)
		if body, err := get(t.Context(), node, 30080); err == nil {
			t.Errorf("without power the node answers %q", body)
		}
		node.PowerOn(t)
		answers(t, node)
		if after := claim(t); after != before {
			t.Errorf("the claim %s became %s", before, after)
		}
	})
	t.Run("a volume goes with its claim", func(t *testing.T) {
		if err := node.Client.CoreV1().Namespaces().Delete(t.Context(), "hello", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "there is no volume", func(ctx context.Context) error {
			volumes, err := node.Client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
			if err == nil && len(volumes.Items) > 0 {
				err = fmt.Errorf("there are %d", len(volumes.Items))
			}
			return err
		})
	})
}

// readyInsteadOf looks whether there is another pod of the same name, and Ready.
func readyInsteadOf(ctx context.Context, node *clustertest.Node, pod *corev1.Pod) error {
	now, err := node.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if now.UID != pod.UID && isReady(now) {
		return nil
	}
	return fmt.Errorf("%s is %s: %+v", pod.Name, now.Status.Phase, now.Status.Conditions)
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
