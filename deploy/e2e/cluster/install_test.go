//go:build e2ecluster

package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/install"
	"fleet.nationtech.io/deploy/install/credentials"
	"fleet.nationtech.io/deploy/zitadel/setup"
	"fleet.nationtech.io/eventlog/logstream"
)

const (
	operatorImage = "localhost/fleet-operator:" + version
	calloutImage  = "localhost/fleet-callout:" + version
	natsImage     = "localhost/nats:" + version
)

// fleetctlRun is one command line, with what it answered.
type fleetctlRun struct {
	code     int
	out, err string
}

func runFleetctl(t *testing.T, node *clustertest.Node, args ...string) fleetctlRun {
	t.Helper()
	return runProgram(t, append([]string{args[0], "--kubeconfig", node.Kubeconfig}, args[1:]...)...)
}

// runProgram runs the fleetctl that make builds: the same for each command, since an
// installation is of one version.
func runProgram(t *testing.T, args ...string) fleetctlRun {
	t.Helper()
	return runProgramAt(t, built.Program(t, "fleetctl"), args...)
}

// runProgramAt runs the fleetctl at a path.
func runProgramAt(t *testing.T, path string, args ...string) fleetctlRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*clustertest.Timeout) // also for what cleans up
	defer cancel()
	var out, warn bytes.Buffer
	c := exec.CommandContext(ctx, path, args...)
	c.Env, c.Stdout, c.Stderr, c.WaitDelay = []string{"HOME=/nonexistent", "NO_COLOR=1"}, &out, &warn, time.Second
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("fleetctl %s: %d\n%s%s", strings.Join(args, " "), c.ProcessState.ExitCode(), &out, &warn)
	return fleetctlRun{c.ProcessState.ExitCode(), out.String(), warn.String()}
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

// administrator connects as the administrator, by the way that devices take.
func administrator(t *testing.T, node *clustertest.Node) jetstream.JetStream {
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
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// log asks for the event log.
func log(t *testing.T, node *clustertest.Node) logstream.Info {
	t.Helper()
	info, err := logstream.Inspect(t.Context(), administrator(t, node))
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

// withoutRights gives a kubeconfig of an account that has none.
func withoutRights(t *testing.T, node *clustertest.Node) string {
	t.Helper()
	accounts := node.Client.CoreV1().ServiceAccounts("default")
	token, err := accounts.CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(node.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// defaultStorageClass changes whether the class is the default one, and names it.
func defaultStorageClass(t *testing.T, node *clustertest.Node, from, to string) string {
	t.Helper()
	const annotation = "storageclass.kubernetes.io/is-default-class"
	classes := node.Client.StorageV1().StorageClasses()
	all, err := classes.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all.Items {
		if c.Annotations[annotation] != from {
			continue
		}
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, annotation, to)
		if _, err := classes.Patch(t.Context(), c.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		return c.Name
	}
	t.Fatalf("no storage class has %s=%s", annotation, from)
	return ""
}

// providerOf gives a directory as fleetctl zitadel setup writes it.
func providerOf(t *testing.T, issuer string) string {
	t.Helper()
	dir := t.TempDir()
	outcome := setup.Outcome{Project: "3012", DeviceOrganization: "3000", PeopleOrganization: "4000"}
	if err := errors.Join(outcome.Save(dir, issuer, nil), os.WriteFile(filepath.Join(dir, "callout-key.json"), []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func pemOf(t *testing.T, certificate *x509.Certificate) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// secretsOf lists the uids of the Secrets that are made once.
func secretsOf(t *testing.T, node *clustertest.Node) map[string]types.UID {
	t.Helper()
	all := map[string]types.UID{}
	for _, name := range append(credentials.Names(), credentials.SecretAuthority) {
		secret, err := node.Client.CoreV1().Secrets(names.Namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all[name] = secret.UID
	}
	return all
}

// killInstall kills a fleetctl that installs, as soon as the NATS servers are begun.
func killInstall(t *testing.T, node *clustertest.Node) {
	t.Helper()
	args := append(lab(node), "--kubeconfig", node.Kubeconfig)
	c := exec.CommandContext(t.Context(), built.Program(t, "fleetctl"), args...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	begun := false
	for lines := bufio.NewScanner(out); !begun && lines.Scan(); {
		begun = strings.Contains(lines.Text(), "StatefulSet")
	}
	if !begun {
		t.Fatal("fleetctl ended before it began the NATS servers")
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it was killed
}

// A lab is installed where something stands in the way first, is installed again
// without a change, is taken out, and goes on with its log.
func TestALabIsInstalledAndKept(t *testing.T) {
	node := clustertest.Shared(t)
	node.Import(t, clustertest.Program{Image: operatorImage, File: built.Program(t, "fleet-operator"), Path: "/fleet-operator", User: "65532"})
	node.Import(t, clustertest.Program{Image: natsImage, File: built.Program(t, "nats-server"), Path: "/nats-server", User: "65532"})
	t.Cleanup(func() { takeOut(t, node) })

	runFleetctl(t, node, lab(node, "--dry-run")...).wants(t, 0, "Nothing was changed")
	if _, err := node.Client.CoreV1().Namespaces().Get(t.Context(), names.Namespace, metav1.GetOptions{}); err == nil {
		t.Fatal("the dry run made the namespace")
	}
	t.Run("without rights", func(t *testing.T) {
		nobody := *node
		nobody.Kubeconfig = withoutRights(t, node)
		runFleetctl(t, &nobody, lab(node)...).wants(t, 1, "You lack rights in the whole cluster", "get and patch namespaces", "You lack rights in namespace fleet-system", "a cluster-admin has all of them")
	})
	runFleetctl(t, node, lab(node, "--set", "nats.storage.class=fast")...).wants(t, 1, "There is no storage class fast", "Name one that is there")
	t.Run("without a default storage class", func(t *testing.T) {
		name := defaultStorageClass(t, node, "true", "false")
		defer defaultStorageClass(t, node, "false", "true")
		runFleetctl(t, node, lab(node)...).wants(t, 1, "None of the cluster's storage classes is the default one", "nats.storage.class="+name)
	})
	t.Run("with a provider that is another", func(t *testing.T) {
		provider := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"issuer": "https://auth.example.com"}`)
		}))
		defer provider.Close()
		runFleetctl(t, node, append(lab(node), "--provider", providerOf(t, provider.URL), "--provider-ca-file", pemOf(t, provider.Certificate()),
			"--set", "callout.enabled=true")...).wants(t, 1,
			fmt.Sprintf("its issuer is \"https://auth.example.com\", and callout.issuer is %q", provider.URL), "--set callout.issuer=https://auth.example.com")
	})
	t.Run("with a port that is taken", func(t *testing.T) {
		taken := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "taken"}}
		taken.Spec.Type, taken.Spec.Ports = corev1.ServiceTypeNodePort, []corev1.ServicePort{{Port: 80, NodePort: 30443}}
		services := node.Client.CoreV1().Services("default")
		if _, err := services.Create(t.Context(), taken, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := services.Delete(context.WithoutCancel(t.Context()), "taken", metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
		runFleetctl(t, node, lab(node)...).wants(t, 1, "provided port is already allocated", "Choose other ports of the nodes")
	})
	var made map[string]types.UID
	t.Run("killed in the middle", func(t *testing.T) {
		killInstall(t, node)
		made = secretsOf(t, node)
	})
	eventually(t, "the NATS server is ready", func(ctx context.Context) error {
		set, err := node.Client.AppsV1().StatefulSets(names.Namespace).Get(ctx, names.NATS, metav1.GetOptions{})
		if err == nil && set.Status.ReadyReplicas != 1 {
			err = fmt.Errorf("%+v", set.Status)
		}
		return err
	})
	runFleetctl(t, node, lab(node, "--set", "images.operator=localhost/none:1", "--timeout", "30s")...).wants(t, 1,
		"cannot pull image localhost/none:1", "Check --set images", "it goes on where it stopped")

	runFleetctl(t, node, lab(node)...).wants(t, 0, "The event log is there", fmt.Sprintf("answer at wss://%s:30443", node.Address), "is installed")
	first := log(t, node)
	if now := secretsOf(t, node); !maps.Equal(now, made) {
		t.Errorf("what is made once was made a second time: %v, and was %v", now, made)
	}
	runFleetctl(t, node, "install").wants(t, 0, "nothing was changed")
	runFleetctl(t, node, lab(node, "--namespace", "fleet-two")...).wants(t, 1, "The cluster has a fleet in namespace fleet-system already")
	if got := runFleetctl(t, node, "upgrade"); got.code != 0 {
		t.Error("an upgrade to the same version is no failure")
	}

	t.Run("behind a load balancer", func(t *testing.T) { behindABalancer(t, node) })
	t.Run("by an Ingress", func(t *testing.T) { byAnIngress(t, node) })
	t.Run("with its dashboard", func(t *testing.T) { byPortForward(t, node) })

	t.Run("without a Secret that was made once", func(t *testing.T) {
		secrets := node.Client.CoreV1().Secrets(names.Namespace)
		ca, err := secrets.Get(t.Context(), credentials.SecretAuthority, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := secrets.Delete(t.Context(), ca.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		runFleetctl(t, node, "install").wants(t, 1, "Secret fleet-ca is gone", "Put it back from your copy")
		ca.ResourceVersion, ca.UID = "", ""
		if _, err := secrets.Create(t.Context(), ca, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		runFleetctl(t, node, "install").wants(t, 0, "nothing was changed")
	})

	runFleetctl(t, node, "uninstall").wants(t, 0, "Its event log, its Secrets and the CRDs stay")
	runFleetctl(t, node, "uninstall").wants(t, 1, "no fleet is installed")
	runFleetctl(t, node, "install").wants(t, 0, "is installed") // the values were kept
	if again := log(t, node); again.ID != first.ID || again.Last < first.Last {
		t.Errorf("the log is %s with %d events, and was %s with %d", again.ID, again.Last, first.ID, first.Last)
	}
	runFleetctl(t, node, "uninstall", "--delete-data", "another-cluster").wants(t, 2, "nothing was deleted")
}
