package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/authority"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/install/apply"
	"fleet.nationtech.io/deploy/install/credentials"
	"fleet.nationtech.io/deploy/rolling"
	"fleet.nationtech.io/eventlog/natstest"
)

// natsServers are three real servers, each with files as a pod has them. Each has an
// address of its own, which is its name, so that the rest of the files is the same.
type natsServers struct {
	t      *testing.T
	ca     *authority.Authority
	want   servers
	dirs   map[string]string // by server
	tlsDir string            // shared by all, as a Secret is
	routes string            // with the certificate between servers
	urls   []string
	nc     *nats.Conn
	told   []string
	// callout is the auth callout that the servers ask; nil: none.
	callout *accounts.Callout
	marks   map[string]int // how often a pod was touched
}

func startNATS(t *testing.T, callout *accounts.Callout) *natsServers {
	t.Helper()
	ca, err := authority.New("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	n := &natsServers{t: t, ca: ca, callout: callout, dirs: map[string]string{}, marks: map[string]int{}}
	n.tlsDir, n.routes = t.TempDir(), t.TempDir()
	clients, routes := natstest.FreePort(t), natstest.FreePort(t)
	n.want.conf = fmt.Sprintf(`
server_name: $POD_NAME
host: $POD_NAME
port: %d
tls: { cert_file: "%[2]s/tls.crt", key_file: "%[2]s/tls.key", timeout: 5 }
jetstream: { store_dir: "%[3]s/$POD_NAME", max_file_store: 64MB, max_memory_store: 16MB }
cluster: { name: test, host: $POD_NAME, port: %[4]d, tls: { cert_file: "%[5]s/tls.crt", key_file: "%[5]s/tls.key", ca_file: "%[5]s/ca.crt", verify: true, timeout: 5 }, routes: ["nats://127.0.0.1:%[4]d", "nats://127.0.0.2:%[4]d", "nats://127.0.0.3:%[4]d"] }
include "accounts.conf"
`, clients, n.tlsDir, t.TempDir(), routes, n.routes)
	replicas := int32(3)
	n.want.set = appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Replicas: &replicas}}
	n.want.set.Spec.Template.Spec.Containers = []corev1.Container{{Env: []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{}}}}}
	n.wish("pi-01")
	n.writeCertificate(time.Hour)
	n.writeRoutes(time.Hour)
	var files []string
	for _, name := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		n.dirs[name] = t.TempDir()
		n.write(name)
		files = append(files, filepath.Join(n.dirs[name], "nats.conf"))
		n.urls = append(n.urls, fmt.Sprintf("tls://%s:%d", name, clients))
	}
	natstest.ClusterOf(t, files...)
	n.nc = n.connect(n.urls[0], "sys", "s")
	return n
}

func (n *natsServers) connect(url, user, password string) *nats.Conn {
	n.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(n.ca.Pair().Certificate)
	nc, err := nats.Connect(url, nats.UserInfo(user, password), nats.Secure(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}), nats.IgnoreDiscoveredServers(), nats.Timeout(20*time.Second))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(nc.Close)
	return nc
}

// wish has these devices known to the servers.
func (n *natsServers) wish(devices ...string) {
	n.t.Helper()
	u := accounts.Users{Operator: accounts.Login{User: "operator", Password: "o"}, System: accounts.Login{User: "sys", Password: "s"}, Callout: n.callout}
	for _, id := range devices {
		u.Devices = append(u.Devices, accounts.Device{ID: id, Password: "p"})
	}
	text, err := accounts.Render(u, accounts.RenderOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	n.want.accounts = string(text)
}

func (n *natsServers) writeCertificate(life time.Duration) {
	n.t.Helper()
	n.writeCertificateUntil(time.Now().Add(life))
}

func (n *natsServers) writeCertificateUntil(until time.Time) {
	n.t.Helper()
	n.want.certificate = n.certificate(n.tlsDir, until)
}

func (n *natsServers) writeRoutes(life time.Duration) {
	n.t.Helper()
	n.want.routes = n.certificate(n.routes, time.Now().Add(life))
}

func (n *natsServers) certificate(dir string, until time.Time) *x509.Certificate {
	n.t.Helper()
	pair, err := n.ca.Server(authority.Server{
		Name: "test", DNS: []string{"fleet-nats.fleet.svc"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv4(127, 0, 0, 2).To4(), net.IPv4(127, 0, 0, 3).To4()},
		Until: until, Client: true,
	}, time.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	for name, text := range map[string][]byte{names.KeyCert: pair.Certificate, names.KeyKey: pair.Key, names.KeyCA: n.ca.Pair().Certificate} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			n.t.Fatal(err)
		}
	}
	made, err := leaf(pair.Certificate)
	if err != nil {
		n.t.Fatal(err)
	}
	return made
}

// write does for one server what the kubelet does: it brings the files to the pod.
func (n *natsServers) write(server string) {
	n.t.Helper()
	for name, text := range map[string]string{"nats.conf": strings.ReplaceAll(n.want.conf, "$POD_NAME", server), names.KeyAccounts: n.want.accounts} {
		if err := os.WriteFile(filepath.Join(n.dirs[server], name), []byte(text), 0o600); err != nil {
			n.t.Fatal(err)
		}
	}
}

// reload has the servers read their files, which come to a pod after it was touched and
// after so many pauses.
func (n *natsServers) reload(after int) error {
	n.told = nil
	return n.want.reload(n.t.Context(), n.nc, n.reloading(after))
}

// reloading is what the servers are reloaded with; files come to a pod after it was
// touched and after so many pauses.
func (n *natsServers) reloading(after int) reloading {
	pauses := []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}
	server := ""
	return reloading{
		shown: n.shown,
		touch: func(_ context.Context, pod, _ string) error {
			n.marks[pod]++
			server = pod
			if after == 0 {
				n.write(pod)
			}
			return nil
		},
		tell: func(format string, args ...any) {
			said := fmt.Sprintf(format, args...)
			n.t.Log(said)
			n.told = append(n.told, said)
			if strings.Contains(said, "has read its files, and") && strings.Count(strings.Join(n.told, "\n"), server+" has read its files, and") == after {
				n.write(server)
			}
		},
		timeout: time.Minute, pause: func() []time.Duration { return pauses },
	}
}

func (n *natsServers) shown(ctx context.Context, server string) (*x509.Certificate, error) {
	i := max(0, slices.IndexFunc(n.urls, func(url string) bool { return strings.Contains(url, server+":") })) // by the pod's name: the first
	return certificateAt(ctx, strings.TrimPrefix(n.urls[i], "tls://"))
}

// mustShow fails where a server shows a device another certificate than the wished one.
func (n *natsServers) mustShow() {
	n.t.Helper()
	for _, url := range n.urls {
		state, err := n.connect(url, accounts.DeviceUser("pi-01"), "p").TLSConnectionState()
		if err != nil || !state.PeerCertificates[0].Equal(n.want.certificate) {
			n.t.Errorf("%s shows a certificate until %v, %v", url, state.PeerCertificates[0].NotAfter, err)
		}
	}
}

// readFiles has all servers read their files at once.
func (n *natsServers) readFiles() {
	n.t.Helper()
	all, err := rolling.Servers(n.t.Context(), n.nc, 3, time.Minute)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, s := range all {
		if err := rolling.Reload(n.t.Context(), n.nc, s); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *natsServers) mustStand() {
	n.t.Helper()
	all, err := rolling.Servers(n.t.Context(), n.nc, 3, time.Minute)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, s := range all {
		if differs, err := n.want.differs(n.t.Context(), n.nc, s, n.reloading(0)); err != nil || differs != "" {
			n.t.Errorf("server %s does not run with what is wished: %s, %v", s.Name, differs, err)
		}
	}
}

func TestServersReadChangedAccountsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	if err := n.reload(0); err != nil || len(n.told) > 0 || len(n.marks) > 0 {
		t.Fatalf("nothing differs: %v, told %q, touched %v", err, n.told, n.marks)
	}
	n.wish("pi-01", "pi-02")
	if err := n.reload(1); err != nil { // the first reload finds the files of before
		t.Fatal(err)
	}
	n.mustStand()
	want := []string{"3 of 3 NATS servers read accounts and certificates again, one after the other."}
	for _, s := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		want = append(want, "Server "+s+" has read its files, and it says digest X of its configuration, and X is wished: the node may not have brought the changed Secrets to its pod yet.",
			"Server "+s+" runs with what is wished; 0 of 0 devices are connected.")
	}
	if diff := cmp.Diff(want, strings.Split(regexp.MustCompile("sha256:[0-9a-f]{64}").ReplaceAllString(strings.Join(n.told, "\n"), "X"), "\n")); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	for _, url := range n.urls {
		n.connect(url, accounts.DeviceUser("pi-02"), "p")
	}
}

// A run that was cut off goes on with the servers that are left.
func TestServersThatHaveReadTheirFilesAreLeftAlone(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	n.wish("pi-01", "pi-02")
	err := n.reload(9) // the files never come
	if !errors.Is(err, errNotRead) || !strings.Contains(err.Error(), "server 127.0.0.1 (1 of 3)") {
		t.Fatalf("got %v", err)
	}
	n.write("127.0.0.1")
	all, err := rolling.Servers(t.Context(), n.nc, 3, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := rolling.Reload(t.Context(), n.nc, all[0]); err != nil {
		t.Fatal(err)
	}
	n.marks = map[string]int{}
	if err := n.reload(0); err != nil {
		t.Fatal(err)
	}
	n.mustStand()
	if diff := cmp.Diff(map[string]int{"127.0.0.2": 1, "127.0.0.3": 1}, n.marks); diff != "" {
		t.Errorf("touched (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(n.told[0], "2 of 3 ") {
		t.Errorf("told %q", n.told[0])
	}
}

func TestServersShowARenewedCertificateWithoutARestart(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	device := n.connect(n.urls[1], accounts.DeviceUser("pi-01"), "p")
	before, err := rolling.Servers(t.Context(), n.nc, 3, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	n.writeCertificate(2 * time.Hour)
	if err := n.reload(0); err != nil {
		t.Fatal(err)
	}
	n.mustStand()
	after, err := rolling.Servers(t.Context(), n.nc, 3, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" { // a server has another id after each start
		t.Errorf("servers were restarted (-before +after):\n%s", diff)
	}
	n.mustShow()
	if !device.IsConnected() {
		t.Error("a device with a password was cut off")
	}
}

// Near the end of an authority each of its certificates ends when the authority does.
func TestServersShowAnotherCertificateThatEndsAtTheSameMoment(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	n.writeCertificateUntil(n.want.certificate.NotAfter)
	if err := n.reload(0); err != nil {
		t.Fatal(err)
	}
	n.mustShow()
	if err := n.reload(0); err != nil || len(n.told) > 0 {
		t.Errorf("they show it: %v, told %q", err, n.told)
	}
}

// The certificate between servers may be another Secret's than that for clients.
func TestServersReadARenewedCertificateBetweenThem(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	n.writeRoutes(2 * time.Hour)
	if err := n.reload(0); err != nil {
		t.Fatal(err)
	}
	if len(n.marks) != 3 {
		t.Errorf("touched %v", n.marks)
	}
	all, err := rolling.Servers(t.Context(), n.nc, 3, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if have, err := rolling.Loaded(t.Context(), n.nc, s); err != nil || !have.RoutesEnd.Equal(n.want.routes.NotAfter) {
			t.Errorf("server %s shows the others a certificate until %s, %v", s.Name, have.RoutesEnd, err)
		}
	}
}

// run is an installation in a namespace that trusts an authority and has a password, and
// what it restarts the servers with.
func (n *natsServers) run(ca *authority.Authority, namespace, password string) (*run, restarting) {
	n.told = nil
	secrets := credentials.Secrets{names.SecretSystem: {names.KeyUser: []byte("sys"), names.KeyPassword: []byte(password)}}
	r := &run{Options: Options{Namespace: namespace}, secrets: secrets}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Pair().Certificate)
	return r, restarting{
		reloading: n.reloading(99),
		inside:    func(_ context.Context, use func(*nats.Conn) error) error { return r.insideAt(n.urls[0], roots, use) },
	}
}

// Servers of another version may say another digest of the same files.
func TestServersThatSayAnotherDigestAreRestartedOnce(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	n.want.conf += "\nping_max: 3\n" // it never comes into the files
	r, with := n.run(n.ca, "fleet", "s")
	restarts := 0
	with.restart = func() error { restarts++; return nil }
	with.remember = func(_ context.Context, sum string) error { n.want.remembered = sum; return nil }
	for range 2 {
		if err := r.reloadBy(t.Context(), n.want, with); err != nil {
			t.Fatal(err)
		}
	}
	said := strings.Join(n.told, "\n")
	if restarts != 1 || n.marks["127.0.0.1"] != 1 || strings.Count(said, "it says digest sha256:") != 4 {
		t.Errorf("restarted %d times, touched %v, told %q", restarts, n.marks, said)
	}
	// Another certificate is read all the same, and other accounts are looked for.
	n.writeCertificate(2 * time.Hour)
	if err := r.reloadBy(t.Context(), n.want, with); err != nil || restarts != 1 {
		t.Errorf("another certificate: %v, restarted %d times", err, restarts)
	}
	n.mustShow()
	n.wish("pi-01", "pi-02")
	if err := r.reloadBy(t.Context(), n.want, with); err != nil || restarts != 2 {
		t.Errorf("other accounts: %v, restarted %d times", err, restarts)
	}
	// A certificate that a restart does not bring is an error.
	n.want.certificate = n.certificate(t.TempDir(), time.Now().Add(time.Hour))
	if err := r.reloadBy(t.Context(), n.want, with); err == nil || !strings.Contains(err.Error(), "was restarted, and it shows devices another certificate") {
		t.Errorf("a certificate that is not brought: %v", err)
	}
}

// What keeps the installer out of servers that run is mended by a restart: in their files
// is what is wished.
func TestServersThatLetTheInstallerInNoMoreAreRestarted(t *testing.T) {
	t.Parallel()
	n := startNATS(t, nil)
	another, err := authority.New("another", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		ca        *authority.Authority
		namespace string
		life      time.Duration
		password  string
		says      string // empty: they are not restarted
	}{
		"a certificate that holds":           {n.ca, "fleet", time.Hour, "s", ""},
		"one that ended":                     {n.ca, "fleet", -time.Minute, "s", "expired"},
		"one without the name that is asked": {n.ca, "elsewhere", time.Hour, "s", "not fleet-nats.elsewhere.svc"},
		"one of another authority":           {another, "fleet", time.Hour, "s", "unknown authority"},
		"another password":                   {n.ca, "fleet", time.Hour, "changed", "another password than that of Secret fleet-nats-system"},
	} {
		n.writeCertificate(tt.life)
		n.readFiles()
		r, with := n.run(tt.ca, tt.namespace, tt.password)
		restarts := 0
		with.restart = func() error { restarts++; return nil }
		if tt.says != "" && tt.password == "s" {
			var wrong *CheckError
			if err := r.reloadBy(t.Context(), n.want, with); !errors.As(err, &wrong) || restarts > 0 {
				t.Errorf("%s, and it is the Secret's: restarted %d times, %v", name, restarts, err)
			}
			n.writeCertificate(2 * time.Hour) // the Secret has another one now
		}
		if err := r.reloadBy(t.Context(), n.want, with); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if said := strings.Join(n.told, "\n"); restarts != min(len(tt.says), 1) || !strings.Contains(said, tt.says) {
			t.Errorf("%s: restarted %d times, told %q", name, restarts, said)
		}
	}
}

// The seeds of the auth callout are not among what a server reloads.
func TestAnotherSeedOfTheAuthCalloutIsNotReloaded(t *testing.T) {
	t.Parallel()
	n := startNATS(t, newCallout(t))
	n.callout = newCallout(t)
	n.wish("pi-01")
	if err := n.reload(0); !errors.Is(err, rolling.ErrNotReloadable) || !strings.Contains(err.Error(), "server 127.0.0.1 (1 of 3)") {
		t.Errorf("got %v", err)
	}
}

func newCallout(t *testing.T) *accounts.Callout {
	t.Helper()
	all, err := credentials.Fill(nil)
	if err != nil {
		t.Fatal(err)
	}
	users, err := all.Users(true)
	if err != nil {
		t.Fatal(err)
	}
	return users.Callout
}

// A stand-in for the StatefulSet, which the API of the tests does not have: what differs
// of its pods is looked for in the same place.
const standIn = `
metadata: {name: sets.reload.fleet.test}
spec:
  group: reload.fleet.test
  scope: Namespaced
  names: {plural: sets, kind: Set}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

func TestPodsKeepTheirAnnotationsWhereNothingElseDiffers(t *testing.T) {
	t.Parallel()
	c := localapitest.Shared(t)
	client, err := clientset.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal([]byte(standIn), definition); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), definition, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	namespace := c.Namespace(t)
	set := func(image, accounts string, replicas int64) *unstructured.Unstructured {
		o := Ref{"reload.fleet.test/v1", "Set", namespace, "nats"}.Object()
		o.Object["spec"] = map[string]any{"replicas": replicas, "template": map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{"other": "x", accountsAnnotation: accounts}}, "spec": map[string]any{"image": image},
		}}
		return o
	}
	r, err := begin(Options{Config: c.Config})
	if err != nil {
		t.Fatal(err)
	}
	for { // it is served a moment later
		_, err := r.applier.Apply(t.Context(), set("v1", "one", 1))
		var unserved *apply.Unserved
		if err == nil {
			break
		}
		if !errors.As(err, &unserved) && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	for name, tt := range map[string]struct {
		wished *unstructured.Unstructured
		want   string
	}{
		"accounts alone":            {set("v1", "two", 1), "one"},
		"accounts and replicas":     {set("v1", "two", 3), "one"},
		"accounts and an image":     {set("v2", "two", 1), "two"},
		"nothing but what there is": {set("v1", "one", 1), "one"},
	} {
		there, err := r.reloadable(t.Context(), tt.wished)
		if err != nil || !there {
			t.Fatalf("%s: %v, %v", name, there, err)
		}
		got, _, err := unstructured.NestedString(tt.wished.Object, "spec", "template", "metadata", "annotations", accountsAnnotation)
		if err != nil || got != tt.want {
			t.Errorf("%s: the annotation is %q, want %q", name, got, tt.want)
		}
	}
	// With a person's own certificate no annotation differs.
	again := set("v1", "one", 1)
	if err := restartAt(again, time.Now()); err != nil {
		t.Fatal(err)
	}
	if change, err := r.applier.Apply(t.Context(), again); err != nil || change != apply.Changed {
		t.Errorf("a restart for what is in a Secret: %s, %v", change, err)
	}
	later := set("v1", "one", 1)
	if _, err := r.reloadable(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if change, err := r.applier.Apply(t.Context(), later); err != nil || change != apply.Unchanged {
		t.Errorf("after a restart: %s, %v", change, err)
	}
	absent := set("v1", "two", 1)
	absent.SetName("other")
	if there, err := r.reloadable(t.Context(), absent); err != nil || there {
		t.Errorf("servers that are not there: %v, %v", there, err)
	}
}
