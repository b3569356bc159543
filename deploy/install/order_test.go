package install_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"fleet.nationtech.io/deploy/chart"
	"fleet.nationtech.io/deploy/install"
)

func named(kind, name string) *unstructured.Unstructured {
	return install.Ref{APIVersion: "v1", Kind: kind, Namespace: "fleet-system", Name: name}.Object()
}

func workload(kind, name, component string) *unstructured.Unstructured {
	o := named(kind, name)
	o.SetLabels(map[string]string{"app.kubernetes.io/component": component})
	return o
}

func TestPartsBeginAfterWhatTheyNeed(t *testing.T) {
	t.Parallel()
	o, err := install.Order([]*unstructured.Unstructured{
		workload("Deployment", "fleet-operator", "operator"), named("Service", "nats"), workload("Deployment", "exporter", "other"),
		named("Role", "b"), workload("StatefulSet", "fleet-nats", "nats"), named("Role", "a"), named("Route", "devices"),
		workload("Deployment", "fleet-callout", "callout"), named("ServiceAccount", "fleet-operator"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var first, then []string
	for _, object := range o.First {
		first = append(first, object.GetKind()+"/"+object.GetName())
	}
	for _, s := range o.Workloads {
		then = append(then, s.Object.GetName())
	}
	if d := cmp.Diff([]string{"ServiceAccount/fleet-operator", "Role/a", "Role/b", "Service/nats", "Route/devices"}, first); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"fleet-nats", "fleet-operator", "fleet-callout", "exporter"}, then); d != "" {
		t.Error(d)
	}
}

func TestAnObjectThatIsThereTwiceIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := install.Order([]*unstructured.Unstructured{named("Role", "a"), named("Role", "a")}); err == nil || !strings.Contains(err.Error(), "Role fleet-system/a is there twice") {
		t.Errorf("got %v", err)
	}
}

// The chart's own parts are found by their labels, in each profile.
func TestTheChartsPartsAreFound(t *testing.T) {
	t.Parallel()
	for _, profile := range chart.Profiles() {
		objects, err := chart.Render(chart.Options{Profile: profile, Values: chart.Values{"callout": chart.Values{
			"issuer": "https://auth.example.com", "project": "1", "deviceOrganization": "2", "organizations": []any{"3"},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		o, err := install.Order(objects)
		if err != nil {
			t.Fatal(err)
		}
		var parts []install.Part
		for _, s := range o.Workloads {
			parts = append(parts, s.Part)
		}
		if d := cmp.Diff([]install.Part{install.NATS, install.Operator, install.Callout}, parts); d != "" {
			t.Errorf("%s: %s", profile, d)
		}
	}
}
