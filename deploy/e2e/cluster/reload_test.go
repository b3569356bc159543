//go:build e2ecluster

package cluster_test

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"net"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/install"
)

// Changed accounts and another certificate are read by a NATS server in its pod, as the
// kubelet brings them there, without a restart.
func TestChangedSecretsAreReadWithoutARestart(t *testing.T) {
	node := clustertest.Shared(t)
	node.Import(t, clustertest.Program{Image: operatorImage, File: built.Program(t, "fleet-operator"), Path: "/fleet-operator", User: "65532"})
	node.Import(t, clustertest.Program{Image: natsImage, File: built.Program(t, "nats-server"), Path: "/nats-server", User: "65532"})
	t.Cleanup(func() { takeOut(t, node) })
	runFleetctl(t, node, lab(node)...).wants(t, 0, "is installed")
	before := natsPod(t, node)
	first := log(t, node)

	secrets := node.Client.CoreV1().Secrets(names.Namespace)
	admin, err := secrets.Get(t.Context(), install.AdminSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	admin.Data[names.KeyPassword] = []byte(accounts.NewPassword())
	if _, err := secrets.Update(t.Context(), admin, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Delete(t.Context(), names.SecretTLS, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	runFleetctl(t, node, "install").wants(t, 0, "read accounts and certificates again, one after the other", "Server fleet-nats-0 runs with what is wished", "is installed")
	after := natsPod(t, node)
	if after.UID != before.UID || after.Status.ContainerStatuses[0].RestartCount != before.Status.ContainerStatuses[0].RestartCount {
		t.Errorf("the server's pod was restarted: %s, %+v", after.UID, after.Status.ContainerStatuses)
	}
	if got := log(t, node); got.ID != first.ID { // by the new password
		t.Errorf("the log is %s, and was %s", got.ID, first.ID)
	}
	secret, err := secrets.Get(t.Context(), names.SecretTLS, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(secret.Data[names.KeyCert])
	conn, err := tls.Dial("tcp", net.JoinHostPort(node.Address.String(), "30443"), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is looked at below
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if shown := conn.ConnectionState().PeerCertificates[0]; block == nil || !bytes.Equal(shown.Raw, block.Bytes) {
		t.Error("devices are shown the former certificate")
	}
	runFleetctl(t, node, "install").wants(t, 0, "nothing was changed")
}

func natsPod(t *testing.T, node *clustertest.Node) *corev1.Pod {
	t.Helper()
	pod, err := node.Client.CoreV1().Pods(names.Namespace).Get(t.Context(), names.NATS+"-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}
