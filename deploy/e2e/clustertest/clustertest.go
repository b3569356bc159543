// Package clustertest runs a real Kubernetes node for end-to-end tests: Kubernetes' own
// programs with Debian's containerd, runc and CNI plugins, as a machine of its own in
// namespaces of this one. One node is shared by the tests of a package:
//
//	func TestMain(m *testing.M) { os.Exit(clustertest.Suite{M: m}.Run()) }
//
//	func TestX(t *testing.T) {
//		node := clustertest.Shared(t)
//		…
//	}
//
// A node ends with its test process, also with one that is killed, and leaves nothing on
// the machine. Where a machine lacks what it takes, such tests are skipped with the
// reason, or fail where FLEET_REQUIRE_ALL is set, as in CI.
package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Timeout is how long a test may wait for whatever a node does, on a machine that does
// much else at the same time.
const Timeout = 3 * time.Minute

// Node is a running machine of a cluster that has no other.
type Node struct {
	Name string
	// Address is the node's own; NodePorts and the API server are there, for this
	// machine and for its containers. Gateway is this machine's, for pods.
	Address, Gateway netip.Addr
	// Kubeconfig is the file of an administrator; Config and Client are the same.
	Kubeconfig string
	Config     *rest.Config
	Client     kubernetes.Interface

	binaries string
	state    string // the directory of all that survives a power cut
	slot     *slot
	launcher *launcher
	keys     *keyring
	told     string // the test that the node last told of; a node has one test at a time
}

// start makes a node and waits until it takes pods. What it began to make is away where
// it fails.
func start(ctx context.Context, binaries string) (_ *Node, err error) {
	slot, err := takeSlot()
	if err != nil {
		return nil, err
	}
	n := &Node{Name: slot.name(), Address: slot.address(), Gateway: slot.gateway(), binaries: binaries, slot: slot}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start a node: %w", err), n.stop())
		}
	}()
	if n.state, err = os.MkdirTemp("", n.Name+"-"); err != nil {
		return nil, err
	}
	if err := n.furnish(); err != nil {
		return nil, err
	}
	n.Kubeconfig = filepath.Join(n.state, "keys", "admin.kubeconfig")
	if n.Config, err = clientcmd.BuildConfigFromFlags("", n.Kubeconfig); err != nil {
		return nil, err
	}
	n.Config.QPS = -1 // tests poll
	if n.Client, err = kubernetes.NewForConfig(n.Config); err != nil {
		return nil, err
	}
	if n.launcher, err = n.launch(); err != nil {
		return nil, err
	}
	if err := n.powerOn(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, n.logs())
	}
	if err := errors.Join(n.importPause(ctx), n.addStorageClass(ctx)); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, n.logs())
	}
	return n, nil
}

// powerOn starts the machine and waits until it takes pods.
func (n *Node) powerOn(ctx context.Context) error {
	began := time.Now()
	if err := n.launcher.powerOn(); err != nil {
		return err
	}
	return n.awaitReady(ctx, began)
}

// stop takes the node and its state off the machine and says what is left of it.
func (n *Node) stop() error {
	var err error
	if n.launcher != nil {
		err = n.launcher.end()
	}
	if n.state != "" {
		err = errors.Join(err, os.RemoveAll(n.state))
	}
	return errors.Join(err, n.slot.leftovers(), n.slot.release())
}

// PowerCut ends all of the node's processes at once, as a machine that loses its power.
// Its disk stays. Who dials its addresses meanwhile is told that there is no route. A test
// that ends before PowerOn leaves a node that runs.
func (n *Node) PowerCut(t testing.TB) {
	t.Helper()
	if err := n.launcher.powerOff(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n.launcher.isOn() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), Timeout)
		defer cancel()
		if err := n.powerOn(ctx); err != nil {
			t.Errorf("%v\n%s", err, n.logs())
		}
	})
}

// PowerOn starts the node again after PowerCut, and waits until it takes pods.
func (n *Node) PowerOn(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Timeout)
	defer cancel()
	if err := n.powerOn(ctx); err != nil {
		t.Fatalf("%v\n%s", err, n.logs())
	}
}

// Suite runs a package's tests and then stops the shared node.
type Suite struct{ M *testing.M }

// Run runs the tests and returns the exit code.
func (s Suite) Run() int {
	shared.allowed = true
	code := s.M.Run()
	if shared.node != nil {
		if err := shared.node.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "clustertest:", err)
			return max(code, 1)
		}
	}
	return code
}

// shared is the one node of this test process. It is a global because Go's test binary
// is: there is nowhere else to keep it between tests.
var shared struct {
	once    sync.Once
	node    *Node
	err     error
	allowed bool
}

// Shared returns the node that this test process shares. Of a test that fails, it tells
// what became of the pods, at its end or where Tell is called before.
func Shared(t testing.TB) *Node {
	t.Helper()
	if !shared.allowed {
		t.Fatal("clustertest.Shared needs: func TestMain(m *testing.M) { os.Exit(clustertest.Suite{M: m}.Run()) }")
	}
	binaries := require(t)
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Timeout)
		defer cancel()
		shared.node, shared.err = start(ctx, binaries)
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	t.Cleanup(func() {
		shared.node.Tell(t)
		shared.node.told = ""
	})
	return shared.node
}
