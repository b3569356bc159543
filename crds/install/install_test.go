package install_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

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
