package chart_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/deploy/chart"
)

func TestValuesGoOverOthersDeeply(t *testing.T) {
	t.Parallel()
	under := chart.Values{"nats": map[string]any{"replicas": 3, "storage": map[string]any{"size": "5Gi", "class": "fast"}}, "openshift": true}
	over := chart.Values{"nats": map[string]any{"storage": map[string]any{"size": "9Gi"}}, "devices": map[string]any{"expose": "nodePort"}}
	want := chart.Values{
		"nats": map[string]any{"replicas": 3, "storage": map[string]any{"size": "9Gi", "class": "fast"}}, "openshift": true,
		"devices": map[string]any{"expose": "nodePort"},
	}
	if d := cmp.Diff(want, chart.Merge(under, over)); d != "" {
		t.Error(d)
	}
	if size := under["nats"].(map[string]any)["storage"].(map[string]any)["size"]; size != "5Gi" {
		t.Errorf("the values below were changed: %v", size)
	}
}
