//go:build e2ecluster

package cluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/fleetctl"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/install"
	"fleet.nationtech.io/eventlog/logstream"
)

const (
	operatorImage = "localhost/fleet-operator:test"
	natsImage     = "localhost/nats:test"
)

// fleetctlRun is one command line, with what it answered.
type fleetctlRun struct {
	code     int
	out, err string
}

func runFleetctl(t *testing.T, node *clustertest.Node, args ...string) fleetctlRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*clustertest.Timeout) // also for what cleans up
	defer cancel()
	var out, warn bytes.Buffer
	args = append([]string{args[0], "--kubeconfig", node.Kubeconfig}, args[1:]...)
	code := fleetctl.Run(ctx, cli.Streams{Out: &out, Err: &warn, Getenv: func(string) string { return "" }, Now: time.Now, Name: "fleetctl"}, args)
	t.Logf("fleetctl %s: %d\n%s%s", strings.Join(args, " "), code, &out, &warn)
	return fleetctlRun{code, out.String(), warn.String()}
}

// wants fails the test where a command line did not end so, or does not say that.
func (r fleetctlRun) wants(t *testing.T, code int, parts ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d", r.code, code)
	}
	for _, part := range parts {
		if !strings.Contains(r.out+r.err, part) {
			t.Errorf("the answer lacks %q", part)
		}
	}
}

// lab is a small fleet whose devices come by NodePorts, and no callout.
func lab(node *clustertest.Node, more ...string) []string {
	return append([]string{
		"install", "--profile", "lab",
		"--set", "images.operator=" + operatorImage, "--set", "images.nats=" + natsImage,
		"--set", "callout.enabled=false", "--set", "nats.storage.size=1Gi",
		"--set", "devices.expose=nodePort", "--set", "devices.host=" + node.Address.String(),
	}, more...)
}

// log asks for the event log as the administrator, by the way that devices take.
func log(t *testing.T, node *clustertest.Node) logstream.Info {
	t.Helper()
	secrets := node.Client.CoreV1().Secrets(names.Namespace)
	admin, err := secrets.Get(t.Context(), install.AdminSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := node.Client.CoreV1().ConfigMaps(names.Namespace).Get(t.Context(), names.ConfigMapCA, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca.Data[names.KeyCA]))
	nc, err := nats.Connect(fmt.Sprintf("wss://%s:30443", node.Address), nats.Secure(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}),
		nats.UserInfo(string(admin.Data[names.KeyUser]), string(admin.Data[names.KeyPassword])))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	info, err := logstream.Inspect(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// clusterName is what the kubeconfig calls the cluster.
func clusterName(t *testing.T, node *clustertest.Node) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(node.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return config.Contexts[config.CurrentContext].Cluster
}

// A lab is installed where something stands in the way first, is installed again
// without a change, is taken out, and goes on with its log.
func TestALabIsInstalledAndKept(t *testing.T) {
	node := clustertest.Shared(t)
	node.Import(t, clustertest.Program{Image: operatorImage, File: built.Program(t, "fleet-operator"), Path: "/fleet-operator", User: "65532"})
	node.Import(t, clustertest.Program{Image: natsImage, File: built.Program(t, "nats-server"), Path: "/nats-server", User: "65532"})
	t.Cleanup(func() { runFleetctl(t, node, "uninstall", "--delete-data", clusterName(t, node)) })

	runFleetctl(t, node, lab(node, "--dry-run")...).wants(t, 0, "Nothing was changed")
	if _, err := node.Client.CoreV1().Namespaces().Get(t.Context(), names.Namespace, metav1.GetOptions{}); err == nil {
		t.Fatal("the dry run made the namespace")
	}
	runFleetctl(t, node, lab(node, "--set", "nats.storage.class=fast")...).wants(t, 1, "There is no storage class fast", "Name one that is there")
	runFleetctl(t, node, lab(node, "--set", "images.operator=localhost/none:1", "--timeout", "30s")...).wants(t, 1,
		"cannot have its image localhost/none:1", "Check --set images", "it goes on where it stopped")

	runFleetctl(t, node, lab(node)...).wants(t, 0, "The event log is there", fmt.Sprintf("answer at wss://%s:30443", node.Address), "is installed")
	first := log(t, node)
	runFleetctl(t, node, "install").wants(t, 0, "nothing was changed")
	if got := runFleetctl(t, node, "upgrade"); got.code != 0 {
		t.Error("an upgrade to the same version is no failure")
	}

	runFleetctl(t, node, "uninstall").wants(t, 0, "Its event log, its Secrets and the CRDs stay")
	runFleetctl(t, node, "uninstall").wants(t, 1, "no fleet is installed")
	runFleetctl(t, node, lab(node)...).wants(t, 0, "is installed")
	if again := log(t, node); again.ID != first.ID || again.Last < first.Last {
		t.Errorf("the log is %s with %d events, and was %s with %d", again.ID, again.Last, first.ID, first.Last)
	}
	runFleetctl(t, node, "uninstall", "--delete-data", "another-cluster").wants(t, 2, "nothing was deleted")
}
