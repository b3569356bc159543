//go:build e2e

package recovery_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/status"
)

// untouched checks that a Deployment's containers are the very same ones.
func (m *machine) untouched(name string, before map[string]container) {
	m.t.Helper()
	if diff := cmp.Diff(before, m.containers(name)); diff != "" {
		m.t.Fatalf("containers of %s were touched (-before +after):\n%s", name, diff)
	}
}

// Kubernetes' data is lost while the fleet is down. No device loses a container;
// the operator says that this is another cluster; told to adopt it, and given
// the same file, it goes on as if nothing had been.
func TestTheClusterIsLost(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	if err := f.apply("hello", "salut"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	before := m.containers("hello")
	m.stop()
	if err := os.RemoveAll(filepath.Join(m.dir, "kube")); err != nil {
		t.Fatal(err)
	}
	f = m.up()
	if err := f.apply("hello", "salut"); err != nil {
		t.Fatal(err)
	}
	f.eventually(timeout, func() error {
		c, _, err := f.condition("hello")
		if err != nil {
			return err
		}
		if c.Status != metav1.ConditionFalse || c.Reason != status.ReasonClusterMismatch {
			return fmt.Errorf("Ready=%s %s %q, want False ClusterMismatch", c.Status, c.Reason, c.Message)
		}
		return nil
	})
	m.untouched("hello", before)
	m.stop()
	f = m.up("--adopt-cluster")
	f.ready("hello")
	m.untouched("hello", before)
	m.stop()
}

// The log's tail is cut off while the buckets stay, and then the log is lost
// altogether. No device loses a container, and a new change goes through.
func TestTheLogIsLost(t *testing.T) {
	m := newMachine(t)
	f := m.up()
	if err := f.apply("hello", "salut"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	m.stop()
	streams, err := filepath.Glob(filepath.Join(m.dir, "nats", "jetstream", "*", "streams", eventlog.LogStream))
	if err != nil || len(streams) != 1 {
		t.Fatalf("where is the log? %v, %v", streams, err)
	}
	saved := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(saved, os.DirFS(streams[0])); err != nil {
		t.Fatal(err)
	}
	f = m.up()
	if err := f.apply("later", "plus tard"); err != nil {
		t.Fatal(err)
	}
	f.ready("later")
	hello, later := m.containers("hello"), m.containers("later")
	m.stop()
	if err := os.RemoveAll(streams[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(streams[0], os.DirFS(saved)); err != nil {
		t.Fatal(err)
	}
	f = m.up()
	f.ready("hello")
	f.ready("later")
	m.untouched("hello", hello)
	m.untouched("later", later)
	m.stop()
	if err := os.RemoveAll(streams[0]); err != nil {
		t.Fatal(err)
	}
	f = m.up()
	f.ready("hello")
	f.ready("later")
	m.untouched("hello", hello)
	m.untouched("later", later)
	if err := f.apply("hello", "bonjour"); err != nil {
		t.Fatal(err)
	}
	f.ready("hello")
	m.untouched("later", later)
	m.stop()
}
