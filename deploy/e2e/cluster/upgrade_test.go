//go:build e2ecluster

package cluster_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/previous"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
)

// leads waits until the leader that was elected last is of a version.
func leads(t *testing.T, node *clustertest.Node, version string) {
	t.Helper()
	js := administrator(t, node)
	eventually(t, "an operator of "+version+" leads", func(ctx context.Context) error {
		var last eventlog.Leader
		for e, err := range reader.Read(ctx, js, reader.Options{Subjects: []string{eventlog.LeaderSubject}}) {
			if err == nil {
				last, err = eventlog.Payload[eventlog.Leader](e)
			}
			if err != nil {
				return err
			}
		}
		if last.Version != version {
			return fmt.Errorf("%+v was elected last", last)
		}
		return nil
	})
}

// A lab of the previous release, in pods, is upgraded by fleetctl. Where the operator does
// not become ready the upgrade stops, the operator of before goes on, and fleetctl names
// the version to go back to. It is gone back to, and from there upgraded.
func TestALabOfThePreviousReleaseIsUpgradedAndGoesBack(t *testing.T) {
	node := clustertest.Shared(t)
	before := previous.Build(t)
	former := "localhost/fleet-operator:" + before.Version
	for image, file := range map[string]string{former: before.Program("fleet-operator"), operatorImage: built.Program(t, "fleet-operator")} {
		node.Import(t, clustertest.Program{Image: image, File: file, Path: "/fleet-operator", User: "65532"})
	}
	node.Import(t, clustertest.Program{Image: natsImage, File: built.Program(t, "nats-server"), Path: "/nats-server", User: "65532"})
	t.Cleanup(func() { takeOut(t, node) })
	out, err := exec.CommandContext(t.Context(), built.Program(t, "fleet-operator"), "--version").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	version, _, _ := strings.Cut(string(out), "\n")

	ofBefore := func(args ...string) fleetctlRun {
		t.Helper()
		return runProgramAt(t, before.Program("fleetctl"), append(args, "--kubeconfig", node.Kubeconfig)...)
	}
	ofBefore(lab(node, "--set", "images.operator="+former)...).wants(t, 0, "is installed")
	leads(t, node, before.Version)
	first, secrets := log(t, node), secretsOf(t, node)

	runFleetctl(t, node, "install").wants(t, 1, "version "+before.Version+" is installed, and this is "+version, "upgrade")
	runFleetctl(t, node, "upgrade").wants(t, 1, "images.operator is "+former+", which was given for version "+before.Version)
	runFleetctl(t, node, "upgrade", "--set", "images.operator="+operatorImage, "--dry-run").wants(t, 0, "Nothing was changed")
	const timeout = "90s" // where the NATS server's pod is another one, its clients are sent away first, in 30 s
	runFleetctl(t, node, "upgrade", "--set", "images.operator=localhost/none:1", "--timeout", timeout).wants(t, 1,
		"cannot pull image localhost/none:1", "To go back instead: install, by the fleetctl of version "+before.Version)
	operators, err := node.Client.AppsV1().Deployments(names.Namespace).Get(t.Context(), names.Operator, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if operators.Status.AvailableReplicas != 1 {
		t.Errorf("the upgrade stopped, and %d operators of before are there", operators.Status.AvailableReplicas)
	}

	ofBefore("install", "--set", "images.operator="+former).wants(t, 0, "is installed")
	leads(t, node, before.Version)

	runFleetctl(t, node, "upgrade", "--set", "images.operator="+operatorImage).wants(t, 0, "is installed")
	leads(t, node, version)
	runFleetctl(t, node, "upgrade").wants(t, 0, "nothing was changed")
	ofBefore("install").wants(t, 1, "version "+version+" is installed, and this is "+before.Version)
	if again := log(t, node); again.ID != first.ID || again.Last < first.Last {
		t.Errorf("the log is %s with %d events, and was %s with %d", again.ID, again.Last, first.ID, first.Last)
	}
	for name, uid := range secretsOf(t, node) {
		if uid != secrets[name] {
			t.Errorf("Secret %s was made a second time", name)
		}
	}
}
