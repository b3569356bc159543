//go:build e2ecluster

package cluster_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/sampletest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
)

// The chart's lab profile, without an identity provider: one pod of NATS and one
// operator. Where all processes of the only node are killed at once (its page cache stays, as it does not when the power fails) a device keeps its container, and it gets
// the next update once the node is back with all that its log had.
func TestTheLabProfileSurvivesTheKillOfItsNode(t *testing.T) {
	node := clustertest.Shared(t)
	began := time.Now()
	step := func(what string) { t.Logf("%6.1f s: %s", time.Since(began).Seconds(), what) }
	lab := systemdtest.New(t)
	devices := lab.Start("lab-01")
	f := newFleet(t, node, "fleet-lab", []string{"lab-01"}, lab.Gateway())
	f.apply("lab", small(node))
	if pods := f.pods(); len(pods) != 2 {
		t.Errorf("there are %d pods, want 2", len(pods))
	}
	step("two pods are Ready")

	p := newPerson(f, lab, devices)
	p.enrol(devices, map[string][]string{"lab-01": append(f.sharedFlags("lab-01"), "--device-url", "tls://"+f.forward(lab.Gateway(), natsPort))})
	sampletest.Load(t, devices...)
	f.deploy("hello", "1")
	f.ready("hello", len(devices))
	before := containers(t, devices...)
	events := p.events()
	step("the device is enrolled and runs what was applied")

	node.PowerCut(t)
	if _, err := p.fleetctl("get", "devices"); err == nil {
		t.Error("without power the fleet answers")
	}
	if diff := cmp.Diff(before, containers(t, devices...)); diff != "" {
		t.Errorf("without power on the node the device runs other containers (-before +after):\n%s", diff)
	}
	node.PowerOn(t)
	f.settled()
	step("the node has power again")
	f.deploy("hello", "2")
	f.ready("hello", len(devices))
	if after := p.events(); len(after) < len(events) || !cmp.Equal(events, after[:len(events)]) {
		t.Errorf("the log lost events (-before +after):\n%s", cmp.Diff(events, after))
	}
	p.agrees()
	step("an update has reached the device, and the log has all that it had")
}
