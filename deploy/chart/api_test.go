package chart_test

import (
	"context"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/deploy/chart"
)

func TestMain(m *testing.M) { os.Exit(localapitest.Suite{M: m}.Run()) }

// applier applies objects server-side, as fleetctl and kubectl do.
type applier struct {
	client dynamic.Interface
	mapper meta.RESTMapper
}

func newApplier(t *testing.T, config *rest.Config) applier {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return applier{client, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))}
}

// apply applies an object; nil where the API does not serve its kind.
func (a applier) apply(t *testing.T, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	mapping, err := a.mapper.RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var client dynamic.ResourceInterface = a.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		client = a.client.Resource(mapping.Resource).Namespace(o.GetNamespace())
	}
	got, err := client.Apply(context.Background(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "test"})
	if err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	return got
}

// What the embedded API serves of the chart it takes, and a second time nothing changes. It
// has no pods, Services or policies: those are decoded strictly by
// TestEachObjectDecodesStrictly alone.
func TestTheAPITakesTheChartAndASecondTimeNothingChanges(t *testing.T) {
	t.Parallel()
	cluster := localapitest.Shared(t)
	a := newApplier(t, cluster.Config)
	objects := render(t, chart.Options{Profile: "production", Namespace: cluster.Namespace(t), Values: provider()})
	first := map[int]string{}
	for i, o := range objects {
		if got := a.apply(t, o); got != nil {
			first[i] = got.GetResourceVersion()
		}
	}
	if len(first) < 8 {
		t.Fatalf("the API took %d objects alone", len(first))
	}
	for i, version := range first {
		if got := a.apply(t, objects[i]); got.GetResourceVersion() != version {
			t.Errorf("%s %s changed", got.GetKind(), got.GetName())
		}
	}
}
