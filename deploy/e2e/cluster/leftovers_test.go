//go:build e2ecluster

package cluster_test

import (
	"context"
	"strings"
	"testing"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/clustertest"
)

// What a test leaves would fail the tests after it: a cluster has one fleet, and the names,
// ports and fields of what is left are taken. So all is taken out, also of a test that
// failed. Of that one the node tells first.

// takeOut uninstalls the fleet with its data and its namespace.
func takeOut(t *testing.T, node *clustertest.Node) {
	t.Helper()
	if t.Failed() {
		deleteAll(t, node)
	}
	runFleetctl(t, node, "uninstall", "--delete-data", clusterName(t, node))
	// The servers of NATS would send their clients away first, for half a minute.
	clean(t, node, "delete", "pods", "--all", "-n", names.Namespace, "--grace-period=1")
	clean(t, node, "delete", "namespace", names.Namespace, "--ignore-not-found", "--timeout=2m")
	if t.Failed() { // it may have failed before there was an installation to take out
		deleteRights(t, node)
	}
	// While an operator ran and agents were connected, it made the object of each device again,
	// which the next fleet would take for one of its own.
	deleteByForce(t, node, kindDevices)
}

// deleteAll deletes what a test or a reader applied, while an operator can take its
// finalizers off. Of a test that failed there may be none, so they are taken off here.
func deleteAll(t *testing.T, node *clustertest.Node) {
	t.Helper()
	node.Tell(t)
	for _, kind := range []string{kindDeployments, kindDevices} {
		if t.Failed() {
			deleteByForce(t, node, kind)
			continue
		}
		clean(t, node, "delete", kind, "--all", "--all-namespaces")
	}
}

// Kinds of what a fleet has in Kubernetes.
const (
	kindDeployments = "deployments.fleet.nationtech.io"
	kindDevices     = "devices.fleet.nationtech.io"
)

// deleteByForce deletes all of a kind where no operator takes its finalizers off.
func deleteByForce(t *testing.T, node *clustertest.Node, kind string) {
	t.Helper()
	clean(t, node, "delete", kind, "--all", "--all-namespaces", "--wait=false")
	left := clean(t, node, "get", kind, "--all-namespaces", "-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.namespace}{"\n"}{end}`)
	for line := range strings.Lines(left) {
		name, namespace, _ := strings.Cut(strings.TrimSpace(line), " ")
		args := []string{"patch", kind, name, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`}
		if namespace != "" {
			args = append(args, "-n", namespace)
		}
		clean(t, node, args...)
	}
}

// deleteRights deletes what a fleet has outside of its namespace.
func deleteRights(t *testing.T, node *clustertest.Node) {
	t.Helper()
	clean(t, node, "delete", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/part-of=harmony-fleet")
}

// clean runs a command line of kubectl's after the test.
func clean(t *testing.T, node *clustertest.Node, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), clustertest.Timeout)
	defer cancel()
	out, err := node.Kubectl(ctx, nil, args...)
	if err != nil {
		t.Error(err)
	}
	return out
}
