//go:build e2ecluster

package cluster_test

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/clustertest"
)

// behindABalancer has an installed fleet's devices come in by a load balancer, which the
// test gives an address as a provider of load balancers does, and by ports of the nodes
// again.
func behindABalancer(t *testing.T, node *clustertest.Node) {
	runFleetctl(t, node, "install", "--set", "devices.expose=loadBalancer", "--timeout", "20s").wants(t, 1,
		"Service fleet-devices has no address", "the cluster gave it none within 20s", "MetalLB")
	status := fmt.Appendf(nil, `{"status":{"loadBalancer":{"ingress":[{"ip":%q}]}}}`, node.Address)
	if _, err := node.Client.CoreV1().Services(names.Namespace).Patch(t.Context(), names.Devices, types.MergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	runFleetctl(t, node, "install").wants(t, 0,
		fmt.Sprintf("The load balancer has %s.", node.Address), fmt.Sprintf("The NATS servers answer at wss://%s:443", node.Address), fmt.Sprintf("The NATS servers answer at tls://%s:4222", node.Address))
	runFleetctl(t, node, "install", "--set", "devices.expose=nodePort").wants(t, 0, fmt.Sprintf("The NATS servers answer at wss://%s:30443", node.Address))
}

// byAnIngress has the API server check what an installed fleet would be with its devices
// coming in by an Ingress.
func byAnIngress(t *testing.T, node *clustertest.Node) {
	byIngress := func(class string) []string {
		return []string{"install", "--dry-run", "--set", "devices.expose=ingress,devices.host=devices.example.com,devices.ingress.className=" + class}
	}
	runFleetctl(t, node, byIngress("web")...).wants(t, 1, "The cluster has no ingress controller")
	if _, err := node.Kubectl(t.Context(), []byte(`{"apiVersion":"networking.k8s.io/v1","kind":"IngressClass","metadata":{"name":"web"},"spec":{"controller":"example.com/web"}}`), "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := node.Kubectl(context.WithoutCancel(t.Context()), nil, "delete", "ingressclass", "web"); err != nil {
			t.Error(err)
		}
	})
	runFleetctl(t, node, byIngress("wob")...).wants(t, 1, "There is no ingress class wob. The cluster has web")
	runFleetctl(t, node, byIngress("web")...).wants(t, 0, "would be")
}
