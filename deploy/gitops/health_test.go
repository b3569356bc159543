package gitops_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"fleet.nationtech.io/crds/manifests"
	"fleet.nationtech.io/operator/status/argocdtest"
)

// The objects that the samples deploy are ready for Flux (by kstatus) and for Argo CD (by
// its rule) once the operator says so of their newest generation, and not before. What the
// operator says when is decide.TestWhatWaitsForADeploymentIsNeverFooled.
func TestTheToolsWaitForWhatTheSamplesDeploy(t *testing.T) {
	t.Parallel()
	rules := argocdtest.Rules(t, manifests.ArgoHealth())
	for name, tt := range map[string]struct {
		observed   int64
		conditions map[string]string
		flux       status.Status
		argo       string
	}{
		"the operator has not looked":        {observed: -1, flux: status.InProgressStatus, argo: "Progressing"},
		"it was ready before it was changed": {observed: 1, conditions: map[string]string{"Ready": "True"}, flux: status.InProgressStatus, argo: "Progressing"},
		"nothing is known of it yet":         {observed: 2, conditions: map[string]string{"Ready": "Unknown"}, flux: status.InProgressStatus, argo: "Progressing"},
		"it is ready":                        {observed: 2, conditions: map[string]string{"Ready": "True"}, flux: status.CurrentStatus, argo: "Healthy"},
		"it needs a person":                  {observed: 2, conditions: map[string]string{"Ready": "False", "Stalled": "True"}, flux: status.FailedStatus, argo: "Degraded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deployed := 0
			for _, file := range yamlFiles(t, here+"/deployments") {
				for _, o := range objects(t, file) {
					deployed++
					rule := rules["fleet.nationtech.io_"+o.GetKind()]
					if rule == nil {
						t.Fatalf("Argo CD has no rule for %s", o.GetKind())
					}
					o = served(t, o)
					if tt.observed >= 0 {
						said(t, o, tt.observed, tt.conditions)
					}
					if got := rule.Of(t, o); got.Status != tt.argo {
						t.Errorf("Argo CD says of %s %s: %s (%s), want %s", o.GetKind(), o.GetName(), got.Status, got.Message, tt.argo)
					}
					if got, err := status.Compute(o); err != nil || got.Status != tt.flux {
						t.Errorf("kstatus says of %s %s: %+v, %v, want %s", o.GetKind(), o.GetName(), got, err, tt.flux)
					}
				}
			}
			if deployed < 2 {
				t.Errorf("the samples deploy %d objects", deployed)
			}
		})
	}
}

// said puts conditions into a status as the operator does.
func said(t *testing.T, o *unstructured.Unstructured, observed int64, conditions map[string]string) {
	t.Helper()
	var list []any
	for kind, s := range conditions {
		list = append(list, map[string]any{"type": kind, "status": s, "reason": "Tried", "message": "said", "observedGeneration": observed})
	}
	if err := unstructured.SetNestedMap(o.Object, map[string]any{"observedGeneration": observed, "conditions": list}, "status"); err != nil {
		t.Fatal(err)
	}
}

// With the patch beside the samples, a wave waits until the Application before is healthy.
func TestAWaveWaitsForTheApplicationBefore(t *testing.T) {
	t.Parallel()
	rule := argocdtest.Rules(t, read(t, here+"/argocd/health.yaml"))["argoproj.io_Application"]
	for name, tt := range map[string]struct {
		status map[string]any
		want   argocdtest.Health
	}{
		"Argo CD has not looked at it": {nil, argocdtest.Health{Status: "Progressing"}},
		"it has no health yet":         {map[string]any{"sync": map[string]any{"status": "OutOfSync"}}, argocdtest.Health{Status: "Progressing"}},
		"it is healthy":                {map[string]any{"health": map[string]any{"status": "Healthy"}}, argocdtest.Health{Status: "Healthy"}},
		"a part of it is degraded":     {map[string]any{"health": map[string]any{"status": "Degraded", "message": "no"}}, argocdtest.Health{Status: "Degraded", Message: "no"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := sample(t, "Application fleet-server").DeepCopy()
			if tt.status != nil {
				o.Object["status"] = tt.status
			}
			if got := rule.Of(t, o); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
