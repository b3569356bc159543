//go:build e2e

package recovery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"fleet.nationtech.io/deploy/e2e/built"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/logstream"
	"fleet.nationtech.io/eventlog/needs"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/status"
)

// archive is fleetctl archive, and the check of what it wrote.
func (f *fleet) archive() string {
	f.t.Helper()
	file := filepath.Join(f.t.TempDir(), "fleet.archive")
	for _, args := range [][]string{{"archive", file}, {"archive", "--check", file}} {
		if out, err := f.fleetctl(f, args...); err != nil {
			f.t.Fatalf("fleetctl %v: %v: %s", args, err, out)
		}
	}
	return file
}

// loses removes what a part of a stopped fleet has on its disk.
func (m *machine) loses(part string) {
	m.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.dir, part)); err != nil {
		m.t.Fatal(err)
	}
}

// last is where the log ends.
func (f *fleet) last() uint64 {
	f.t.Helper()
	info, err := logstream.Inspect(context.Background(), f.js)
	if err != nil {
		f.t.Fatal(err)
	}
	return info.Last
}

// appended lists what operators appended after an event.
func (f *fleet) appended(after uint64) (types []string) {
	f.t.Helper()
	for e, err := range reader.Read(context.Background(), f.js, reader.Options{From: after + 1}) {
		if err != nil && !errors.Is(err, eventlog.ErrForeign) {
			f.t.Fatal(err)
		}
		if !e.Address.Family.OfDevices() {
			types = append(types, string(e.Type))
		}
	}
	return types
}

// label is kubectl label of a Device.
func (f *fleet) label(device, key, value string) {
	f.t.Helper()
	b := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, key, value)
	_, err := f.kube.FleetV1alpha1().Devices().Patch(context.Background(), device, types.MergePatchType, b, metav1.PatchOptions{FieldManager: "kubectl-label"})
	if err != nil {
		f.t.Fatal(err)
	}
}

// objects is fleetctl restore --crs | kubectl apply --server-side -f -.
func (f *fleet) objects(args ...string) {
	f.t.Helper()
	c := f.command(built.Program(f.t, "fleetctl"), append([]string{"restore", "--crs"}, args...)...)
	for _, k := range []string{"FLEET_NATS_URL", "FLEET_NATS_USER", "FLEET_NATS_PASSWORD"} {
		c.Env = append(c.Env, k+"="+f.env[k])
	}
	var failure bytes.Buffer
	c.Stderr = &failure
	docs, err := c.Output()
	if err != nil {
		f.t.Fatalf("fleetctl restore --crs: %v: %s", err, failure.Bytes())
	}
	if _, err := exec.LookPath("kubectl"); err == nil || needs.All(f.t) {
		list := filepath.Join(f.t.TempDir(), "objects.yaml")
		if err := os.WriteFile(list, docs, 0o600); err != nil {
			f.t.Fatal(err)
		}
		f.t.Log(f.must("apply", "--server-side", "-f", list))
		return
	}
	for _, doc := range strings.Split(string(docs), "---\n") {
		b, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			f.t.Fatal(err)
		}
		var o metav1.PartialObjectMetadata
		if err := json.Unmarshal(b, &o); err != nil {
			f.t.Fatal(err)
		}
		p := metav1.PatchOptions{FieldManager: "kubectl"}
		switch o.Kind {
		case "Deployment":
			_, err = f.kube.FleetV1alpha1().Deployments(o.Namespace).Patch(context.Background(), o.Name, types.ApplyPatchType, b, p)
		case "Device":
			_, err = f.kube.FleetV1alpha1().Devices().Patch(context.Background(), o.Name, types.ApplyPatchType, b, p)
		default:
			err = fmt.Errorf("a %q", o.Kind)
		}
		if err != nil {
			f.t.Fatalf("apply %s: %v", doc, err)
		}
	}
}

// agrees is fleetctl verify, for which all must agree.
func (f *fleet) agrees() {
	f.t.Helper()
	f.eventually(timeout, func() error {
		out, err := f.fleetctl(f, "verify")
		if err != nil {
			return fmt.Errorf("fleetctl verify: %w: %s", err, out)
		}
		return nil
	})
}

// due lists what an operator may append to a restored log of a fleet in which
// nothing changed.
func due() []string {
	return []string{
		string(eventlog.LeaderElected), string(eventlog.DeviceOnline), string(eventlog.DeviceOffline), string(eventlog.SealCreated),
	}
}

// NATS loses all that it had, and gets it back from an archive that is up to date.
// No container is touched, all agrees, and the operator says nothing that wasn't due.
func TestNATSIsLostAndRestoredFromAnArchive(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	if err := f.apply("hello", "salut"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	file := f.archive()
	last, before := f.last(), m.containers("hello")
	m.stop()
	m.loses("nats")
	f = m.up("--restore", file)
	f.ready("hello")
	m.untouched("hello", before)
	f.agrees()
	if got := slices.DeleteFunc(f.appended(last), func(s string) bool { return slices.Contains(due(), s) }); len(got) > 0 {
		t.Errorf("the operator appended %v", got)
	}
	if err := f.apply("hello", "bonjour"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello") // the fleet goes on
	newer := f.archive()
	m.stop()

	// A log with events of its own is not replaced.
	c := m.command(built.Program(t, "fleet-dev"), "up", "--data-dir", m.dir, "--engine", m.engine, "--restore", newer)
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "this server has a log already") {
		t.Errorf("fleet-dev up --restore: %v: %s", err, out)
	}
}

// The archive is older than the fleet: since it was made, a Deployment changed and
// another came. No container is touched.
func TestNATSIsLostAndTheArchiveIsOlder(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	if err := f.apply("hello", "salut"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	file := f.archive()
	for name, revision := range map[string]string{"hello": "bonjour", "later": "plus tard"} {
		if err := f.apply(name, revision); err != nil {
			t.Fatal(err)
		}
	}
	f.ready("hello")
	f.ready("later")
	hello, later := m.containers("hello"), m.containers("later")
	m.stop()
	m.loses("nats")
	f = m.up("--restore", file)
	f.ready("hello")
	f.ready("later")
	m.untouched("hello", hello)
	m.untouched("later", later)
	f.agrees()
	m.stop()
}

// Kubernetes loses all that it had. Its objects come back out of the log, and
// neither a container nor a revision changes.
func TestTheClusterIsLostAndItsObjectsComeFromTheLog(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	if err := f.apply("hello", "salut"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	f.label("edge-01", "pool", "gold")
	f.eventually(timeout, func() error {
		if !slices.Contains(f.appended(0), string(eventlog.DeviceRelabeled)) {
			return errors.New("not relabelled")
		}
		return nil
	})
	before := m.containers("hello")
	m.stop()
	m.loses("kube")
	f = m.up("--adopt-cluster")
	f.objects()
	f.ready("hello")
	m.untouched("hello", before)
	if _, d, err := f.condition("hello"); err != nil || d.Status.Revision != 1 {
		t.Errorf("revision %d (%v), want 1", d.Status.Revision, err)
	}
	f.eventually(timeout, func() error { return f.carries("edge-01", map[string]string{"pool": "gold", "site": "lab"}) })
	m.stop()
}

func (f *fleet) carries(device string, labels map[string]string) error {
	d, err := f.kube.FleetV1alpha1().Devices().Get(context.Background(), device, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for k, v := range labels {
		if d.Labels[k] != v {
			return fmt.Errorf("%s has the labels %v, want %v", device, d.Labels, labels)
		}
	}
	return nil
}

// Both are lost, and the archive is older than a Deployment. What it knew runs on;
// what it never knew is left alone, and shown.
func TestBothAreLostAndTheArchiveIsOlder(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	if err := f.apply("hello", "salut"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	file := f.archive()
	if err := f.apply("later", "plus tard"); err != nil {
		t.Fatal(err)
	}
	f.ready("later")
	hello, later := m.containers("hello"), m.containers("later")
	m.stop()
	m.loses("nats")
	m.loses("kube")
	f = m.up("--restore", file, "--adopt-cluster")
	f.objects(file)
	f.ready("hello")
	f.eventually(timeout, func() error {
		d, err := f.kube.FleetV1alpha1().Devices().Get(context.Background(), "edge-02", metav1.GetOptions{})
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(d.Status.Conditions, status.ConditionUnknownDeployments)
		if c == nil || c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "the device reports later, which") {
			return fmt.Errorf("conditions of edge-02: %+v", d.Status.Conditions)
		}
		return nil
	})
	m.untouched("hello", hello)
	m.untouched("later", later)
	if slices.Contains(f.appended(0), string(eventlog.DesiredWithdrawn)) {
		t.Error("something was withdrawn")
	}
	if err := f.apply("later", "plus tard"); err != nil { // the same file again takes it over
		t.Fatal(err)
	}
	f.ready("later")
	m.untouched("later", later)
	f.agrees()
	m.stop()
}
