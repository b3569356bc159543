//go:build e2e

package recovery_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/needs"
)

// kubectl runs the real one.
func (f *fleet) kubectl(args ...string) (string, error) {
	f.t.Helper()
	needs.Program(f.t, "kubectl", "apt-get install kubernetes-client")
	c := f.command("kubectl", args...)
	c.Env = append(c.Env, "KUBECONFIG="+f.env["KUBECONFIG"])
	out, err := c.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func (f *fleet) must(args ...string) string {
	f.t.Helper()
	out, err := f.kubectl(args...)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// The main job as a person does it: apply, wait, look, break, relabel, delete.
func TestAPersonWithKubectlRunsAFleet(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	samples, err := filepath.Abs(filepath.Join("..", "..", "..", "crds", "samples"))
	if err != nil {
		t.Fatal(err)
	}
	f.must("apply", "-f", samples)
	f.must("wait", "--for=condition=Ready", "fleetdep/hello", "--timeout=120s")
	table := f.must("get", "fleetdep,fleetdev", "-o", "wide")
	for _, word := range []string{"READY", "MATCHED", "SUCCEEDED", "AllSucceeded", "NoDeviceMatches", "ONLINE", "edge-01", "edge-03"} {
		if !strings.Contains(table, word) {
			t.Errorf("kubectl get does not tell %q:\n%s", word, table)
		}
	}
	if m.engine == "podman" {
		f.answers("hello")
		f.repairs("hello", "kill")
		f.repairs("hello", "rm", "-f")
	}

	// A person's label wins over what the agent reports; without it, that returns.
	f.must("label", "--overwrite", "fleetdev/edge-01", "site=other")
	f.eventually(timeout, func() error { return f.runsOn("hello", "edge-02", "edge-03") })
	f.must("label", "fleetdev/edge-01", "site-")
	f.eventually(timeout, func() error { return f.runsOn("hello", "edge-01", "edge-02", "edge-03") })
	f.ready("hello")

	f.must("delete", "fleetdep", "hello", "--timeout=120s")
	f.gone("hello")
	f.eventually(timeout, func() error { return f.runsOn("hello") })
	f.eventually(timeout, func() error { return f.noKeys("hello") })
	out, err := m.fleetctl(f, "log", "--deployment", "default/hello", "-o", "text")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"deployment.applied", "desired.assigned", "state.reported", "desired.withdrawn", "state.cleared", "deployment.deleted"} {
		if !strings.Contains(out, word) {
			t.Errorf("the log does not hold %s any more:\n%s", word, out)
		}
	}
	if out, err := m.fleetctl(f, "ping", "edge-02"); err != nil || !strings.Contains(out, "edge-02 answered in") {
		t.Errorf("fleetctl ping: %v: %s", err, out)
	}
	m.stop()
}

// runsOn says whether a Deployment's containers are on these devices and no others.
func (f *fleet) runsOn(name string, devices ...string) error {
	want := map[string]bool{}
	for _, d := range devices {
		want[d] = true
	}
	got := map[string]bool{}
	for containerName, c := range f.containers(name) {
		device := c.Names[0]
		for i := range 3 {
			if id := fmt.Sprintf("edge-%02d", i+1); strings.Contains(containerName, id) {
				device = id
			}
		}
		got[device] = true
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Errorf("%s runs on %v, want %v", name, got, want)
	}
	return nil
}

// noKeys says whether no bucket has a live key of a Deployment.
func (f *fleet) noKeys(name string) error {
	for _, bucket := range []string{eventlog.BucketDesired, eventlog.BucketState} {
		kv, err := f.js.KeyValue(f.t.Context(), bucket)
		if err != nil {
			return err
		}
		keys, err := kv.ListKeys(f.t.Context())
		if err != nil {
			return err
		}
		for k := range keys.Keys() {
			if strings.HasSuffix(k, "."+name) {
				return fmt.Errorf("bucket %s still has %s", bucket, k)
			}
		}
	}
	return nil
}

// answers checks that each container answers on the host port that it reports.
func (f *fleet) answers(name string) {
	f.t.Helper()
	// A connection that was begun while a container was coming or going may stay
	// with an address that nobody has: each try is short, and a new one.
	quick := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	f.eventually(timeout, func() error {
		states := f.states(name)
		if len(states) != 3 {
			return fmt.Errorf("%d devices report %s, want 3", len(states), name)
		}
		for device, s := range states {
			for _, sv := range s.Services {
				for _, p := range sv.Ports {
					host, _, _ := strings.Cut(p, ":")
					resp, err := quick.Get("http://127.0.0.1:" + host + "/")
					if err != nil {
						return fmt.Errorf("%s: port %s: %w", device, p, err)
					}
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						return fmt.Errorf("%s: port %s answers %s", device, p, resp.Status)
					}
				}
				if len(sv.Ports) == 0 {
					return fmt.Errorf("%s reports no port of %s", device, sv.Name)
				}
			}
		}
		return nil
	})
}

// repairs breaks one container behind the agent's back. It must run again at once, as far as a busy
// machine can tell, and the others must not be touched.
func (f *fleet) repairs(name string, how ...string) {
	f.t.Helper()
	before := f.containers(name)
	var victim string
	for n := range before {
		if strings.Contains(n, "edge-02") {
			victim = n
		}
	}
	if victim == "" {
		f.t.Fatalf("no container of %s on edge-02 among %v", name, before)
	}
	if out, err := f.command("podman", append(how, victim)...).CombinedOutput(); err != nil {
		f.t.Fatalf("podman %s: %v: %s", how[0], err, out)
	}
	began := time.Now()
	f.eventually(atOnce, func() error {
		c, ok := f.containers(name)[victim]
		if !ok || c.State != "running" || c.ID == before[victim].ID && c.Started == before[victim].Started {
			return fmt.Errorf("%s is %q", victim, c.State)
		}
		return nil
	})
	f.t.Logf("podman %s: runs again after %v", strings.Join(how, " "), time.Since(began).Round(10*time.Millisecond))
	for n, c := range f.containers(name) {
		if n != victim && c.ID != before[n].ID {
			f.t.Errorf("%s was replaced too", n)
		}
	}
	f.ready(name)
	f.answers(name)
}
