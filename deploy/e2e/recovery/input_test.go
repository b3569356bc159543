//go:build e2e

package recovery_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/eventlog"
)

// applyJSON applies a Deployment in a namespace as kubectl would.
func (f *fleet) applyJSON(namespace, name, selector, score string) error {
	body := fmt.Sprintf(`{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Deployment","metadata":{"name":%q,"namespace":%q},
		"spec":{"targetSelector":%s,"score":%s,"rollout":{"strategy":"Immediate"}}}`, name, namespace, selector, score)
	_, err := f.kube.FleetV1alpha1().Deployments(namespace).Patch(context.Background(), name, types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "kubectl"})
	return err
}

func podmanScore(image, ports string) string {
	return fmt.Sprintf(`{"type":"PodmanV0","data":{"services":[{"name":"web","image":%q,"ports":[%s]}]}}`, image, ports)
}

// says waits for a condition's reason, and for a word in its message.
func (f *fleet) says(namespace, name, reason, word string) {
	f.t.Helper()
	f.eventually(timeout, func() error {
		d, err := f.kube.FleetV1alpha1().Deployments(namespace).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range d.Status.Conditions {
			if c.Type == "Ready" && c.Reason == reason && strings.Contains(c.Message, word) {
				return nil
			}
		}
		return fmt.Errorf("%s/%s: %s; want reason %s and a message with %q", namespace, name, asJSON(d.Status), reason, word)
	})
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Each kind of bad input gives a reason that a person can act on, where they
// would look, and the rest of the fleet goes on.
func TestBadInputIsReportedAndTheRestGoesOn(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	const lab = `{"matchLabels":{"site":"lab"}}`
	one := `{"matchLabels":{"fleet.nationtech.io/device":"edge-01"}}`

	if err := f.applyJSON("default", "wasm", lab, `{"type":"WasmV3","data":{"module":"x"}}`); err != nil {
		t.Fatal(err)
	}
	if err := f.applyJSON("default", "nobody", `{"matchLabels":{"site":"moon"}}`, podmanScore("localhost/fleet-hello:1", `"8080"`)); err != nil {
		t.Fatal(err)
	}
	f.says("default", "wasm", "UnsupportedScore", "WasmV3")
	f.says("default", "nobody", "NoDeviceMatches", "site=moon")

	if err := f.applyJSON("default", "shared", lab, podmanScore("localhost/fleet-hello:1", `"8080"`)); err != nil {
		t.Fatal(err)
	}
	f.ready("shared")
	if err := f.applyJSON("kube-system", "shared", lab, podmanScore("localhost/fleet-hello:2", `"8080"`)); err != nil {
		t.Fatal(err)
	}
	f.says("kube-system", "shared", "NameConflict", "default/shared")

	if m.engine == "podman" {
		if err := f.applyJSON("default", "nopull", one, podmanScore("127.0.0.1:1/no/such:1", "")); err != nil {
			t.Fatal(err)
		}
		f.says("default", "nopull", "DeviceFailed", "edge-01")
		busy, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		port := busy.Addr().(*net.TCPAddr).Port
		if err := f.applyJSON("default", "busy", one, podmanScore("localhost/fleet-hello:1", fmt.Sprintf(`"%d:8080"`, port))); err != nil {
			t.Fatal(err)
		}
		f.says("default", "busy", "DeviceFailed", "PortInUse")
		if err := busy.Close(); err != nil {
			t.Fatal(err)
		}
		f.says("default", "busy", "AllSucceeded", "1 device") // it healed by itself
	}

	// A device that writes nonsense, and one that forges the headers of others.
	nc, err := nats.Connect(f.env["FLEET_NATS_URL"], nats.UserInfo(f.env["FLEET_LAB_USER"], f.env["FLEET_LAB_PASSWORD"]), nats.Timeout(atOnce))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, msg := range []*nats.Msg{
		{Subject: eventlog.StateSubject("edge-02", "shared"), Data: []byte("this is not JSON")},
		{
			Subject: eventlog.StateSubject("edge-02", "shared"), Data: []byte(`{"device_id":"edge-02","deployment":"shared","phase":"Running"}`),
			Header: nats.Header{eventlog.HeaderType: {eventlog.CloudEventType(eventlog.DesiredWithdrawn, 1)}, eventlog.HeaderActor: {"admin"}},
		},
	} {
		if _, err := nc.RequestMsg(msg, atOnce); err != nil {
			t.Fatal(err)
		}
	}
	out, err := m.fleetctl(f, "log", "--device", "edge-02", "-o", "json")
	if err != nil {
		t.Fatalf("fleetctl log: %v\n%s", err, out)
	}
	if n := strings.Count(out, `"foreign":`); n != 2 {
		t.Errorf("fleetctl log tells %d foreign messages apart, want 2", n)
	}

	// A configuration with a key that nobody knows.
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte("device_id = \"pi-01\"\ncolour = \"red\"\n[nats]\nurl = \"nats://127.0.0.1:4222\"\nallow_plaintext = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := m.command(built.Program(t, "fleet-agent"), "--config", file)
	said, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 78 || !strings.Contains(string(said), "colour") {
		t.Errorf("fleet-agent with an unknown key: exit %d, %q; want exit 78 and the key's name", cmd.ProcessState.ExitCode(), said)
	}

	f.ready("shared")
	m.stop()
}

func (m *machine) fleetctl(f *fleet, args ...string) (string, error) {
	c := m.command(built.Program(m.t, "fleetctl"), args...)
	for k, v := range f.env {
		c.Env = append(c.Env, k+"="+v)
	}
	out, err := c.CombinedOutput()
	return string(out), err
}
