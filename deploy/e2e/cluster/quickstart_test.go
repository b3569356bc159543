//go:build e2ecluster

package cluster_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
)

// oneNode are values by which a production fleet fits on a small machine. A rollout waits
// for the pulses of its devices, which are more frequent than in a large fleet.
const oneNode = `
nats: {spread: ScheduleAnyway, goMemLimit: 400MiB, storage: {size: 1Gi}, resources: &small {requests: {cpu: 20m, memory: 64Mi}, limits: {memory: 512Mi}}}
operator: {pulseInterval: 2s, resources: *small}
callout: {resources: *small}
`

// A reader follows the documents word for word, in a clone of the repository: by the
// production quickstart from an empty cluster to a container on a device that had no
// agent, and by the README to a lab. Their place in the world is all that is the test's
// own: a cluster with a load balancer, a registry, a provider, a device.
func TestAReaderOfTheDocumentsGetsAFleetIntoACluster(t *testing.T) {
	node := clustertest.Shared(t)
	lab := systemdtest.New(t)
	device := lab.Start("edge-01")[0]
	here := lab.Gateway()
	p := newPlace(t, node, here)
	// All but the image of NATS is in the registry. That one is on the internet elsewhere.
	defaults, err := chart.Effective(chart.Options{Profile: "production"})
	if err != nil {
		t.Fatal(err)
	}
	node.Import(t, clustertest.Program{
		Image: defaults["images"].(map[string]any)["nats"].(string), File: built.Program(t, "nats-server"), Path: "/nats-server", User: "65532",
	})
	registry, platform := p.registry.String()+"/fleet", "linux/"+runtime.GOARCH

	t.Run("by the production quickstart", func(t *testing.T) {
		provider, caFile, adminKey := startProvider(t, here)
		p.letIn(t, lab)
		p.letPull(device)
		copyFile(t, adminKey, filepath.Join(p.dir, "fleet-setup.json"))
		values := filepath.Join(p.home, "one-node.yaml")
		if err := os.WriteFile(values, []byte(oneNode), 0o600); err != nil {
			t.Fatal(err)
		}
		balanceLoads(t, node, here)
		t.Cleanup(func() { takeOut(t, node) })
		t.Cleanup(func() { deleteAll(t, node) })
		p.follow(t, p.steps(t, "docs/quickstart-production.md", ""), map[string]string{
			"REGISTRY": registry, "PLATFORMS": platform, "ISSUER": provider.Issuer(), "PROVIDER_CA": caFile,
			"HOST": here.String(), "VALUES": values, "DEVICE": "ssh://" + systemdtest.User + "@" + device.SSH(),
		})
		if got := device.Run("podman ps --format '{{.Image}} {{.Status}}'"); !strings.HasPrefix(got, registry+"/fleet-hello:") || !strings.Contains(got, " Up ") {
			t.Errorf("the device runs %q", got)
		}
	})
	t.Run("by the README", func(t *testing.T) {
		t.Cleanup(func() { takeOut(t, node) })
		p.follow(t, p.steps(t, "README.md", "Into a cluster"), map[string]string{"REGISTRY": registry, "PLATFORMS": platform, "HOST": node.Address.String()})
		if info := log(t, node); info.Replicas != 1 {
			t.Errorf("the log has %d replicas, want 1", info.Replicas)
		}
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
