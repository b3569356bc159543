package manifests_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"fleet.nationtech.io/crds/client/clientset/versioned"
	"fleet.nationtech.io/crds/client/clientset/versioned/scheme"
	"fleet.nationtech.io/crds/localapi/localapitest"
	"fleet.nationtech.io/crds/manifests"
	"fleet.nationtech.io/crds/v1alpha1"
)

// The names of the contract, as the API server has them.
func TestServedNames(t *testing.T) {
	t.Parallel()
	client := discovery.NewDiscoveryClientForConfigOrDie(localapitest.Shared(t).Config)
	list, err := client.ServerResourcesForGroupVersion("fleet.nationtech.io/v1alpha1")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range list.APIResources {
		scope := "Cluster"
		if r.Namespaced {
			scope = "Namespaced"
		}
		got[r.Name] = strings.Join([]string{r.Kind, scope, strings.Join(r.ShortNames, ","), strings.Join(r.Categories, ",")}, " ")
	}
	want := map[string]string{
		"deployments":        "Deployment Namespaced fleetdep fleet",
		"deployments/status": "Deployment Namespaced  ",
		"devices":            "Device Cluster fleetdev fleet",
		"devices/status":     "Device Cluster  ",

		"disruptionbudgets":        "DisruptionBudget Cluster fleetdb fleet",
		"disruptionbudgets/status": "DisruptionBudget Cluster  ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
}

// The columns of `kubectl get`; those in brackets show with -o wide.
func TestServedColumns(t *testing.T) {
	t.Parallel()
	cluster := policedAPI(t)
	for resource, want := range map[string]string{
		"deployments": "Name Ready Reason Rollout Matched Succeeded Failed Pending [Revision] [Batch] [Message] [Last-Error] Age",
		"devices":     "Name Online Agent Running Failed Pending [Reason] [Since] [Arch] [OS] [Podman] [Labels] Age",

		"disruptionbudgets": "Name Ready Max-Unavailable Min-Available Matched Down Remaining Blocked [Groups] [Reason] [Message] Age",
	} {
		t.Run(resource, func(t *testing.T) {
			t.Parallel()
			config := rest.CopyConfig(cluster.Config)
			config.APIPath, config.GroupVersion = "/apis", &v1alpha1.SchemeGroupVersion
			config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
			client, err := rest.RESTClientFor(config)
			if err != nil {
				t.Fatal(err)
			}
			body, err := client.Get().Resource(resource).
				SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Do(context.Background()).Raw()
			if err != nil {
				t.Fatal(err)
			}
			var table metav1.Table
			if err := json.Unmarshal(body, &table); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range table.ColumnDefinitions {
				if c.Priority > 0 {
					c.Name = "[" + c.Name + "]"
				}
				got = append(got, c.Name)
			}
			if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
		})
	}
}

// What the API keeps of a score is what was written, whatever type it is and
// however it comes back: as plain JSON, or through our Go types.
func TestUnknownPartsOfAScoreSurvive(t *testing.T) {
	t.Parallel()
	cluster := policedAPI(t)
	namespace := cluster.Namespace(t)
	plain := dynamic.NewForConfigOrDie(cluster.Config).Resource(v1alpha1.SchemeGroupVersion.WithResource("deployments")).Namespace(namespace)
	typed := versioned.NewForConfigOrDie(cluster.Config).FleetV1alpha1().Deployments(namespace)
	ctx := context.Background()

	for name, score := range map[string]string{
		"podman": `{"type":"PodmanV0","data":{"mesh":{"on":true},"services":[{"name":"a","image":"b","gpu":{"n":[1,2.5]},"resources":{"disk":"1g"},"healthCheck":{"exec":["x"],"tcp":7},"env":{}}]}}`,
		"wasm":   `{"type":"WasmV9","data":{"modules":[{"digest":"x","deep":{"er":null}}],"services":[{"kind":"lambda"}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := asked{name: name, score: score}.object(t)
			if _, err := plain.Create(ctx, object, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			deployment, err := typed.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			deployment.Labels = map[string]string{"touched": "yes"}
			if _, err := typed.Update(ctx, deployment, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			got, err := plain.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{}
			if err := json.Unmarshal([]byte(score), &want); err != nil {
				t.Fatal(err)
			}
			kept, _, _ := unstructured.NestedMap(got.Object, "spec", "score")
			if diff := cmp.Diff(normal(t, want), normal(t, kept)); diff != "" {
				t.Errorf("score (-written +kept):\n%s", diff)
			}
			// A default in the schema would be stored in every object, so that no other
			// could ever reach it.
			if rollout, set, _ := unstructured.NestedFieldNoCopy(got.Object, "spec", "rollout"); set {
				t.Errorf("spec.rollout is %v, which its author did not say", rollout)
			}
		})
	}
}

// Status is a part of its own: two writers of different conditions don't
// disturb each other, and a write of the spec doesn't touch it.
func TestStatusConditionsAreAListMap(t *testing.T) {
	t.Parallel()
	cluster := policedAPI(t)
	typed := versioned.NewForConfigOrDie(cluster.Config).FleetV1alpha1().Devices()
	ctx := context.Background()
	device := &v1alpha1.Device{ObjectMeta: metav1.ObjectMeta{GenerateName: "listmap-"}}
	device, err := typed.Create(ctx, device, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for manager, condition := range map[string]string{"one": v1alpha1.ConditionOnline, "two": v1alpha1.ConditionDuplicateIdentity} {
		patch := `{"apiVersion":"fleet.nationtech.io/v1alpha1","kind":"Device","metadata":{"name":"` + device.Name + `"},
			"status":{"conditions":[{"type":"` + condition + `","status":"True","reason":"Test","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`
		if _, err := typed.Patch(ctx, device.Name, types.ApplyPatchType, []byte(patch), metav1.PatchOptions{FieldManager: manager}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	device, err = typed.Get(ctx, device.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(device.Status.Conditions) != 2 {
		t.Errorf("conditions %v, want both writers'", device.Status.Conditions)
	}
}

func TestDefinitionsAreTheManifests(t *testing.T) {
	t.Parallel()
	definitions, err := manifests.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range definitions {
		names = append(names, d.Name)
	}
	if diff := cmp.Diff([]string{"deployments.fleet.nationtech.io", "devices.fleet.nationtech.io", "disruptionbudgets.fleet.nationtech.io"}, names); diff != "" {
		t.Errorf("CRDs (-want +got):\n%s", diff)
	}
}

// normal gives JSON values one Go form each, so that they compare.
func normal(t *testing.T, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
