//go:build e2ecluster

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/deploy/chart/names"
	"fleet.nationtech.io/deploy/e2e/clustertest"
	"fleet.nationtech.io/deploy/e2e/systemdtest"
	"fleet.nationtech.io/deploy/e2e/walkthrough"
)

// place is where a reader of the documents is: a clone of the repository, a home, and a
// registry that nodes and devices pull from.
type place struct {
	dir, home string
	env       []string
	registry  netip.AddrPort
}

// newPlace furnishes a place. The registry is at an address of this machine.
func newPlace(t *testing.T, node *clustertest.Node, at netip.Addr) *place {
	t.Helper()
	p := &place{dir: filepath.Join(t.TempDir(), "fleet"), home: t.TempDir(), registry: startRegistry(t, at)}
	root, err := filepath.Abs("../../..")
	err = errors.Join(err, node.Registry(p.registry), walkthrough.Clone(t.Context(), root, p.dir, false))
	if err != nil {
		t.Fatal(err)
	}
	if p.env, err = walkthrough.Environment(t.Context(), p.home); err != nil {
		t.Fatal(err)
	}
	p.env = append(p.env, "KUBECONFIG="+node.Kubeconfig)
	return p
}

// letIn gives the reader's home what SSH needs to come to the lab's devices.
func (p *place) letIn(t *testing.T, lab *systemdtest.Lab) {
	t.Helper()
	dir := filepath.Join(p.home, ".ssh")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "config"), fmt.Appendf(nil, "Host *\n  IdentityFile %s\n", lab.KeyFile), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// letPull has a device pull from the registry, which speaks plain HTTP.
func (p *place) letPull(device *systemdtest.Device) {
	device.Feed(fmt.Appendf(nil, "[[registry]]\nlocation = %q\ninsecure = true\n", p.registry), "cat > /etc/containers/registries.conf.d/test.conf")
}

// steps are those of a page of the clone; of one section, where that is named.
func (p *place) steps(t *testing.T, page, section string) []walkthrough.Step {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, page))
	if err != nil {
		t.Fatal(err)
	}
	steps := slices.DeleteFunc(walkthrough.Read(string(text)), func(s walkthrough.Step) bool { return section != "" && s.Section != section })
	if len(steps) == 0 {
		t.Fatalf("%s has no steps in section %q", page, section)
	}
	return steps
}

// follow has a reader follow steps, with what they must put in for their place.
func (p *place) follow(t *testing.T, steps []walkthrough.Step, values map[string]string) {
	t.Helper()
	steps, err := walkthrough.Place(steps, values)
	if err != nil {
		t.Fatal(err)
	}
	r := walkthrough.Reader{Dir: p.dir, Env: p.env, Scripts: t.TempDir(), Tell: t.Logf}
	if err := r.Follow(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
}

// startRegistry starts a registry in memory.
func startRegistry(t *testing.T, at netip.Addr) netip.AddrPort {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(at.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: registry.New(registry.Logger(stdlog.New(io.Discard, "", 0))), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// balanceLoads does what a cloud does for the Service that devices come in by: it gives it
// an address of this machine.
func balanceLoads(t *testing.T, node *clustertest.Node, at netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var balancing sync.WaitGroup
	balancing.Go(func() {
		for balanced := false; !balanced; {
			end, err := balance(ctx, node, at)
			if balanced = err == nil; balanced {
				<-ctx.Done()
				end()
			}
			select {
			case <-ctx.Done():
				if !balanced {
					t.Errorf("the Service got no address: %v", err)
				}
				balanced = true
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		balancing.Wait()
	})
}

// balance gives the Service its address, once it is there.
func balance(ctx context.Context, node *clustertest.Node, at netip.Addr) (end func(), err error) {
	services := node.Client.CoreV1().Services(names.Namespace)
	service, err := services.Get(ctx, "fleet-devices", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil, fmt.Errorf("it is of type %s", service.Spec.Type)
	}
	var ends []func()
	end = func() {
		for _, end := range ends {
			end()
		}
	}
	for _, port := range service.Spec.Ports {
		_, one, err := forward(ctx, net.JoinHostPort(at.String(), strconv.Itoa(int(port.Port))), net.JoinHostPort(node.Address.String(), strconv.Itoa(int(port.NodePort))))
		if err != nil {
			end()
			return nil, err
		}
		ends = append(ends, one)
	}
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: at.String()}}
	if _, err := services.UpdateStatus(ctx, service, metav1.UpdateOptions{}); err != nil {
		end()
		return nil, err
	}
	return end, nil
}
