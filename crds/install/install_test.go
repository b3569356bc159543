package install_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/install"
	"fleet.nationtech.io/crds/localapi/localapitest"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

func TestInstallAgainChangesNothing(t *testing.T) {
	t.Parallel()
	config := localapitest.Shared(t).Config
	crds := apiextensions.NewForConfigOrDie(config).ApiextensionsV1().CustomResourceDefinitions()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	before, err := crds.Get(ctx, "deployments.fleet.nationtech.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := install.Install(ctx, config); err != nil {
		t.Fatal(err)
	}
	after, err := crds.Get(ctx, "deployments.fleet.nationtech.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if before.ResourceVersion != after.ResourceVersion {
		t.Errorf("resourceVersion went from %s to %s", before.ResourceVersion, after.ResourceVersion)
	}
}

func TestInstallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := install.Install(ctx, &rest.Config{Host: "https://127.0.0.1:1"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}

func TestPoliciesAreInForceOnceAwaitedAndAgainChangesNothing(t *testing.T) {
	t.Parallel()
	config := localapitest.Shared(t).Config
	policies := kubernetes.NewForConfigOrDie(config).AdmissionregistrationV1().MutatingAdmissionPolicies()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var versions []string
	for range 2 {
		if err := install.Policies(ctx, config); err != nil {
			t.Fatal(err)
		}
		if err := install.AwaitPolicies(ctx, config); err != nil {
			t.Fatal(err)
		}
		policy, err := policies.Get(ctx, "requested-by.fleet.nationtech.io", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, policy.ResourceVersion)
	}
	if versions[0] != versions[1] {
		t.Errorf("resourceVersion went from %s to %s", versions[0], versions[1])
	}
	left, err := versioned.NewForConfigOrDie(config).FleetV1alpha1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(left.Items) != 0 {
		t.Errorf("the wait left %d Deployments behind", len(left.Items))
	}
}

// An older API server has the group without the kinds, or not even that version.
func TestPoliciesThatAreNotServedAreReported(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"no such group": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`))
		},
		"no such kind": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"admissionregistration.k8s.io/v1","resources":[]}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(answer)
			t.Cleanup(server.Close)
			err := install.Policies(t.Context(), &rest.Config{Host: server.URL})
			if !errors.Is(err, install.ErrPoliciesNotServed) {
				t.Errorf("got %v, want %v", err, install.ErrPoliciesNotServed)
			}
		})
	}
}

func TestAwaitPoliciesSaysWhatItAwaited(t *testing.T) {
	t.Parallel()
	config := localapitest.Private(t).Config
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := install.AwaitPolicies(ctx, config)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "await policies (") {
		t.Errorf("got %v, want the context's end with what was awaited", err)
	}
}

// A CRD that is still being deleted takes an apply, and is gone a moment later.
func TestInstallMakesACRDAgainThatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	config := localapitest.Private(t).Config
	crds := apiextensions.NewForConfigOrDie(config).ApiextensionsV1().CustomResourceDefinitions()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const name, hold = "disruptionbudgets.fleet.nationtech.io", `{"metadata":{"finalizers":["example.org/hold"]}}`
	if _, err := crds.Patch(ctx, name, types.MergePatchType, []byte(hold), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := crds.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	installed := make(chan error, 1)
	go func() { installed <- install.Install(ctx, config) }()
	select {
	case err := <-installed:
		t.Fatalf("it is installed while the one before is still being deleted: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	if _, err := crds.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":[]}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-installed; err != nil {
		t.Fatal(err)
	}
	crd, err := crds.Get(ctx, name, metav1.GetOptions{})
	if err != nil || crd.DeletionTimestamp != nil {
		t.Errorf("it is not there: %v, being deleted since %v", err, crd.GetDeletionTimestamp())
	}
}
