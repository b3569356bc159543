//go:build e2ecluster

package cluster_test

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/devprovider"
	"fleet.nationtech.io/deploy/devprovider/devprovidertest"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
)

// What the identity provider of the test calls its organizations and the fleet's project.
const (
	devicesOrganization = "3000"
	peopleOrganization  = "4000"
	project             = "3012"
)

// openShiftUser is a user id as OpenShift gives a namespace: nobody's in any image.
const openShiftUser = 1000660000

// The chart's production profile on the node, under Pod Security restricted, as users
// that no image knows: three NATS servers, two operators, three auth callouts. A device
// comes in over TLS and another one, by its identity, over WebSocket. Whatever pod is
// deleted, restarted or killed, and with the kubelet killed, no device loses a container,
// and the log is whole.
func TestTheProductionProfileOnARealNode(t *testing.T) {
	node := clustertest.Shared(t)
	began := time.Now()
	step := func(what string) { t.Logf("%6.1f s: %s", time.Since(began).Seconds(), what) }
	lab := systemdtest.New(t)
	devices := lab.Start("shared-01", "token-01")
	step("two devices have booted")
	f := newFleet(t, node, "fleet-production", true, []string{"shared-01"}, lab.Gateway())
	provider := f.provider(lab.Gateway())
	values := small(node)
	values["podSecurity"] = chart.Values{"runAsUser": openShiftUser, "runAsGroup": 0, "fsGroup": openShiftUser}
	for key, value := range map[string]any{
		"issuer": provider.Issuer(), "issuerCA": true, "project": project, "deviceOrganization": devicesOrganization, "organizations": []any{peopleOrganization},
	} {
		values["callout"].(chart.Values)[key] = value
	}
	f.apply("production", values)
	pods := f.pods()
	if len(pods) != 8 {
		t.Errorf("there are %d pods, want 8", len(pods))
	}
	for _, p := range pods {
		if user := p.Spec.SecurityContext.RunAsUser; user == nil || *user != openShiftUser {
			t.Errorf("%s runs as %v", p.Name, user)
		}
	}
	step("eight pods are Ready")

	p := newPerson(f, lab, devices)
	gateway := lab.Gateway()
	flags := map[string][]string{
		"shared-01": append(f.sharedFlags("shared-01"), "--device-url", "tls://"+f.forward(gateway, natsPort)),
		"token-01":  append(f.tokenFlags(provider, "token-01"), "--device-url", "wss://"+f.forward(gateway, webSocketPort)),
	}
	p.enrol(devices, flags)
	sampletest.Load(t, devices...)
	f.deploy("hello", "1")
	f.ready("hello", len(devices))
	before := containers(t, devices...)
	events := p.events()
	step("the devices are enrolled and run what was applied")

	untouched := func(what string) {
		t.Helper()
		if diff := cmp.Diff(before, containers(t, devices...)); diff != "" {
			t.Errorf("after %s devices run other containers (-before +after):\n%s", what, diff)
		}
		step(what)
	}
	killed := time.Now()
	node.Kill(t, "kubelet")
	node.AwaitReady(t, killed)
	f.settled()
	untouched("the kubelet was killed")

	f.deploy("hello", "2")
	f.ready("hello", len(devices))
	step("an update has reached the devices")
	if after := p.events(); len(after) < len(events) || !cmp.Equal(events, after[:len(events)]) {
		t.Errorf("the log lost events (-before +after):\n%s", cmp.Diff(events, after))
	}
	p.agrees()
	step("the log, its seals and the buckets agree")
}

// provider starts an identity provider on this machine, which pods and devices reach.
func (f *fleet) provider(at netip.Addr) *devprovider.Provider {
	f.t.Helper()
	signed, err := f.node.Sign([]string{"provider"}, at)
	f.must(err)
	certificate, err := tls.X509KeyPair(signed.Certificate, signed.Key)
	f.must(err)
	provider := devprovidertest.Start(f.t, devprovider.Options{Listen: net.JoinHostPort(at.String(), "0"), Certificate: &certificate, PollInterval: time.Second})
	for _, id := range []string{devicesOrganization, peopleOrganization} {
		provider.AddOrganization(devprovider.Organization{ID: id, Domain: id + ".example.org"})
	}
	provider.AddProject(project)
	return provider
}
