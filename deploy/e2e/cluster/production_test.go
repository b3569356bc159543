//go:build e2ecluster

package cluster_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/deploy/accounts"
	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
	"fleet.nationtech.io/deploy/install"
)

// openShiftUser is a user id as OpenShift gives a namespace: nobody's in any image.
const openShiftUser = 1000660000

// installProduction is the command line that installs the production profile, small enough
// for the node, with a provider's keys. Devices reach the servers at that address.
func installProduction(keys string, at netip.Addr) []string {
	args := []string{"install", "--profile", "production", "--provider", keys}
	set := func(name string, value any) { args = append(args, "--set", fmt.Sprintf("%s=%v", name, value)) }
	set("images.operator", operatorImage)
	set("images.callout", calloutImage)
	set("images.nats", natsImage)
	set("nats.spread", "ScheduleAnyway")
	set("nats.storage.size", "1Gi")
	set("nats.goMemLimit", "400MiB")
	set("operator.pulseInterval", "1s")
	set("operator.dashboard.enabled", true)
	set("devices.expose", "nodePort")
	set("devices.host", at)
	set("podSecurity.runAsUser", openShiftUser)
	set("podSecurity.runAsGroup", 0)
	set("podSecurity.fsGroup", openShiftUser)
	for _, part := range []string{"nats", "operator", "callout"} {
		set(part+".resources.requests.cpu", "20m")
		set(part+".resources.requests.memory", "32Mi")
		set(part+".resources.limits.memory", "512Mi")
	}
	return args
}

// installed finds out how the fleet that fleetctl installed is reached.
func (f *fleet) installed() {
	f.t.Helper()
	var err error
	f.kube, err = versioned.NewForConfig(f.node.Config)
	f.must(err)
	admin, err := f.node.Client.CoreV1().Secrets(f.namespace).Get(f.t.Context(), install.AdminSecret, metav1.GetOptions{})
	f.must(err)
	f.admin = accounts.Login{User: string(admin.Data[names.KeyUser]), Password: string(admin.Data[names.KeyPassword])}
	f.ca = filepath.Join(f.t.TempDir(), "ca.crt")
	trusted, err := f.node.Client.CoreV1().ConfigMaps(f.namespace).Get(f.t.Context(), names.ConfigMapCA, metav1.GetOptions{})
	f.must(err)
	f.must(os.WriteFile(f.ca, []byte(trusted.Data[names.KeyCA]), 0o600))
}

// gone waits until the fleet has no pod any more.
func (f *fleet) gone() {
	f.t.Helper()
	eventually(f.t, "there is no pod", func(ctx context.Context) error {
		pods, err := f.node.Client.CoreV1().Pods(f.namespace).List(ctx, metav1.ListOptions{})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("there are %d", len(pods.Items))
		}
		return err
	})
}

// The production profile as an administrator installs it, on the node, under Pod Security
// restricted, as users that no image knows: three NATS servers, two operators, three auth
// callouts. Three devices come in by their identities, one over TLS and two over
// WebSocket. Whatever pod is deleted, restarted or killed, with the kubelet killed, and
// with the server side taken out and installed again, no device loses a container, the log
// is whole, and the next change reaches each device. Persons who signed in to the dashboard
// are signed in on each operator, and stay so when each pod is another.
func TestTheProductionProfileOnARealNode(t *testing.T) {
	node := clustertest.Shared(t)
	s := &steady{began: time.Now()}
	lab := systemdtest.New(t)
	s.devices = lab.Start("tls-01", "wss-01", "wss-02")
	gateway := lab.Gateway()
	f := &fleet{t: t, node: node, namespace: names.Namespace}
	f.importImages()
	provider, caFile, adminKey := startProvider(t, gateway)
	keys := filepath.Join(t.TempDir(), "fleet-keys")
	runProgram(t, "zitadel", "setup", "--issuer", provider.Issuer(), "--ca-file", caFile, "--admin-key-file", adminKey, "--out", keys, "--dashboard-url", dashboardURL).wants(t, 0,
		"install --provider", "operator.dashboard.enabled=true")
	people(t, provider, keys)
	tls, wss := f.forward(gateway, natsPort), f.forward(gateway, webSocketPort)
	t.Cleanup(func() { takeOut(t, node) })
	t.Cleanup(func() { deleteAll(t, node) })
	runFleetctl(t, node, installProduction(keys, gateway)...).wants(t, 0,
		"3 of 3 pods are ready", "3 replicas", "A device's identity was made at the provider, got in at wss://"+wss, "Devices reach it at tls://"+tls, "enroll ssh://", "Persons open its dashboard at "+dashboardURL)
	runFleetctl(t, node, "install").wants(t, 0, "nothing was changed")
	f.installed()
	f.servers = tls
	pods := f.pods()
	if len(pods) != 8 {
		t.Errorf("there are %d pods, want 8", len(pods))
	}
	for _, p := range pods {
		if user := p.Spec.SecurityContext.RunAsUser; user == nil || *user != openShiftUser {
			t.Errorf("%s runs as %v", p.Name, user)
		}
	}
	p := newPerson(f, lab, s.devices)
	s.p = p
	s.step("eight pods are Ready")

	flags := map[string][]string{}
	for _, d := range s.devices {
		url := "wss://" + wss
		if d.Name == "tls-01" {
			url = "tls://" + tls
		}
		flags[d.Name] = append(f.tokenFlags(keys), "--device-url", url)
	}
	p.enrol(s.devices, flags)
	sampletest.Load(t, s.devices...)
	f.deploy("hello", "1")
	f.ready("hello", len(s.devices))
	s.step("the devices are enrolled and run what was applied")
	p.isWell(3)
	s.step("fleetctl doctor asked each NATS server in its pod, and found nothing failed")
	operator, viewer := f.signsIn(caFile)
	f.pauses(operator, viewer, s.devices)
	s.remember()
	s.step("persons signed in to the dashboard on both operators, and one of them paused a rollout")

	for _, pod := range f.pods() {
		grace := int64(-1)
		if pod.Labels["app.kubernetes.io/component"] == "nats" {
			grace = 1 // killed; the restart below is in order
		}
		f.replace(pod, grace)
		s.goesOn()
		s.step(pod.Name + " was deleted")
	}
	s.untouched("each pod was deleted in turn")
	for who, v := range map[string]*visitor{"olga": operator, "victor": viewer} {
		v.meetReplicas()
		v.staysSignedIn(who)
	}
	s.step("persons are still signed in to the dashboard")
	f.kubectl("rollout", "restart", "-n", f.namespace, "statefulset/fleet-nats", "deployment/fleet-operator", "deployment/fleet-callout")
	f.settled()
	s.untouched("all pods were restarted, one after the other")
	killed := time.Now()
	node.Kill(t, "kubelet")
	node.AwaitReady(t, killed)
	f.settled()
	s.untouched("the kubelet was killed")

	f.deploy("hello", "2")
	f.ready("hello", len(s.devices))
	s.remember()
	s.step("an update has reached the devices")

	runFleetctl(t, node, "uninstall").wants(t, 0, "Its event log, its Secrets and the CRDs stay")
	f.gone()
	s.sameContainers("the server side was taken out")
	runFleetctl(t, node, "install").wants(t, 0, "is installed") // the values were kept
	f.settled()
	s.untouched("the server side was taken out and installed again")
	f.deploy("hello", "1")
	f.ready("hello", len(s.devices))
	s.step("another update has reached the devices")
}
