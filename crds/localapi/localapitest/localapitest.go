// Package localapitest gives tests a real Kubernetes API with our CRDs: one a
// test process, started by the first test that asks, and stopped at its end.
//
//	func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }
//
//	func TestX(t *testing.T) {
//		cluster := localapitest.Shared(t)
//		namespace := cluster.Namespace(t)
//		…
//	}
//
// Without the program kubeapi such tests are skipped with the reason, or fail
// where FLEET_REQUIRE_ALL is set, as in CI.
package localapitest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/crds/localapi"
	"fleet.nationtech.io/eventlog/needs"
)

// startTimeout bounds the start of an API and the installation of the CRDs; on
// an idle machine they take 3 seconds.
const startTimeout = 2 * time.Minute

// Cluster is a Kubernetes API with our CRDs.
type Cluster struct {
	// API is the running program.
	API *localapi.API
	// Config is for clients that may do everything. Each caller has a copy of its
	// own, without a limit of requests a second.
	Config *rest.Config
}

// Suite runs a package's tests and then stops the shared API. It fits where a
// *testing.M is asked for, as in goleak.VerifyTestMain.
type Suite struct{ M *testing.M }

// Run runs the tests and returns the exit code.
func (s Suite) Run() int {
	shared.allowed = true
	code := s.M.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "localapitest:", err)
		return max(code, 1)
	}
	return code
}

// shared is the one API of this test process. It is a global because Go's test
// binary is: there is nowhere else to keep it between tests.
var shared struct {
	sharedAPI
	allowed bool
}

type sharedAPI struct {
	once sync.Once
	dir  string
	api  *localapi.API
	err  error
}

func (s *sharedAPI) stop() error {
	var err error
	if s.api != nil {
		err = s.api.Stop()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// Shared returns the API that this test process shares. Its namespaces and
// Devices are everybody's: take a fresh namespace, and names of your own for
// what has none.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	if !shared.allowed {
		t.Fatal("localapitest.Shared needs: func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }")
	}
	binary := requireBinary(t)
	shared.once.Do(func() {
		shared.dir, shared.err = os.MkdirTemp("", "kubeapi-")
		if shared.err == nil {
			shared.api, shared.err = start(binary, shared.dir)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return cluster(shared.api)
}

// Private returns an API of the test's own, stopped at its end. It costs some
// 3 seconds; for tests that look at a whole cluster, or wipe it.
func Private(t testing.TB) *Cluster {
	t.Helper()
	binary := requireBinary(t)
	// Not t.TempDir, whose long paths don't fit a Unix socket's.
	dir, err := os.MkdirTemp("", "kubeapi-")
	if err != nil {
		t.Fatal(err)
	}
	api, err := start(binary, dir)
	t.Cleanup(func() {
		if api != nil {
			err = api.Stop()
		}
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return cluster(api)
}

// Namespace creates a namespace for the test alone.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := client.CoreV1().Namespaces().Create(context.Background(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

func cluster(api *localapi.API) *Cluster {
	config := rest.CopyConfig(api.Config)
	config.QPS = -1
	return &Cluster{API: api, Config: config}
}

func requireBinary(t testing.TB) string {
	t.Helper()
	binary, err := localapi.FindBinary()
	if err != nil {
		needs.Missing(t, "the test needs a Kubernetes API: %v", err)
	}
	return binary
}

func start(binary, dir string) (*localapi.API, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	api, err := localapi.Start(ctx, localapi.Options{Binary: binary, DataDir: filepath.Join(dir, "data"), NoFsync: true})
	if err != nil {
		return nil, err
	}
	if err := install.Install(ctx, api.Config); err != nil {
		return nil, errors.Join(err, api.Stop())
	}
	return api, nil
}
