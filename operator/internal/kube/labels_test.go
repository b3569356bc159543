package kube

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
)

func TestTake(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reported map[string]string
		source   LabelSource
		taken    map[string]string
		refused  []string
	}{
		"what is reported is taken, and the device's own label is always there": {
			reported: map[string]string{"site": "lab"}, source: LabelsReported,
			taken: map[string]string{"site": "lab", v1alpha1.LabelDevice: "pi-01"},
		},
		"restricted keys are never taken from a device": {
			reported: map[string]string{"restricted.fleet.nationtech.io/pool": "gold"}, source: LabelsReported,
			taken: map[string]string{v1alpha1.LabelDevice: "pi-01"}, refused: []string{"restricted.fleet.nationtech.io/pool"},
		},
		"a device cannot call itself another": {
			reported: map[string]string{v1alpha1.LabelDevice: "pi-02"}, source: LabelsReported,
			taken: map[string]string{v1alpha1.LabelDevice: "pi-01"}, refused: []string{v1alpha1.LabelDevice},
		},
		"keys and values that are none are named": {
			reported: map[string]string{"a b": "x", "site": strings.Repeat("x", 64), "": "y"}, source: LabelsReported,
			taken: map[string]string{v1alpha1.LabelDevice: "pi-01"}, refused: []string{"", "a b", "site"},
		},
		"with registered labels none is taken": {
			reported: map[string]string{"site": "lab"}, source: LabelsRegistered,
			taken: map[string]string{v1alpha1.LabelDevice: "pi-01"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			taken, refused := take("pi-01", tt.reported, tt.source)
			if diff := cmp.Diff(tt.taken, taken); diff != "" {
				t.Errorf("taken (-want +got):\n%s", diff)
			}
			var keys []string
			for _, c := range refused {
				keys = append(keys, c.Key)
			}
			if diff := cmp.Diff(tt.refused, keys, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
	many := map[string]string{}
	for i := range 1000 {
		many[fmt.Sprintf("key-%d", i)] = "x"
	}
	if taken, refused := take("pi-01", many, LabelsReported); len(taken) != maxLabels || len(fit(refused)) != maxLabels {
		t.Errorf("of 1000 labels %d are taken and %d named, want %d each", len(taken), len(fit(refused)), maxLabels)
	}
}

// device is a CR whose labels have owners: "key=value manager[,manager]".
func device(labels ...string) *v1alpha1.Device {
	d := &v1alpha1.Device{ObjectMeta: metav1.ObjectMeta{Name: "pi-01", Labels: map[string]string{}}}
	for _, l := range labels {
		kv, managers, _ := strings.Cut(l, " ")
		k, v, _ := strings.Cut(kv, "=")
		d.Labels[k] = v
		for m := range strings.SplitSeq(managers, ",") {
			if m == "" {
				continue
			}
			f := &metav1.FieldsV1{}
			f.SetRawString(fmt.Sprintf(`{"f:metadata":{"f:labels":{".":{},"f:%s":{}}}}`, k))
			d.ManagedFields = append(d.ManagedFields, metav1.ManagedFieldsEntry{Manager: m, Operation: metav1.ManagedFieldsOperationApply, FieldsV1: f})
		}
	}
	return d
}

func TestEffectiveLabelsNameTheirOwners(t *testing.T) {
	t.Parallel()
	d := device("site=lab fleet-operator", "rack=7 kubectl-label", "zone=a fleet-operator,kubectl-label,argocd", "old=x",
		"pool=gold fleet-operator", v1alpha1.LabelDevice+"=pi-01 fleet-operator")
	d.Annotations = map[string]string{annotationRestoring: `{"pool":"alice"}`}
	got, err := Effective(d)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]eventlog.OwnedLabel{
		"site": {Value: "lab", Owner: "device"}, "rack": {Value: "7", Owner: "kubectl-label"}, "zone": {Value: "a", Owner: "argocd"},
		"old": {Value: "x", Owner: "fleet-operator"}, "pool": {Value: "gold", Owner: "alice"},
		v1alpha1.LabelDevice: {Value: "pi-01", Owner: "fleet-operator"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestReconcileLeavesOutWhatAPersonHolds(t *testing.T) {
	t.Parallel()
	d := device("site=other kubectl-label", "rack=7 fleet-operator", "zone=a kubectl-label,fleet-operator", v1alpha1.LabelDevice+"=wrong kubectl-label")
	by, err := owners(d.ManagedFields)
	if err != nil {
		t.Fatal(err)
	}
	apply, conflicts := reconcile(d, by, map[string]string{"site": "lab", "rack": "8", "zone": "a", "new": "x", v1alpha1.LabelDevice: "pi-01"})
	if diff := cmp.Diff(map[string]string{"rack": "8", "zone": "a", "new": "x", v1alpha1.LabelDevice: "pi-01"}, apply); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]v1alpha1.LabelConflict{{Key: "site", Reported: "lab", Kept: "other", Manager: "kubectl-label"}}, conflicts); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
}

func TestHoldersReadsAConflict(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("apply: %w", &apierrors.StatusError{ErrStatus: metav1.Status{
		Code: http.StatusConflict, Reason: metav1.StatusReasonConflict, Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{
			{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "kubectl-label" using fleet.nationtech.io/v1alpha1`, Field: ".metadata.labels.site"},
			{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "bob"`, Field: ".metadata.labels.example.org/rack"},
			{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "bob"`, Field: ".spec.inventory.arch"},
		}},
	}})
	held, ok := holders(err)
	if diff := cmp.Diff(map[string]string{"site": "kubectl-label", "example.org/rack": "bob"}, held); diff != "" || !ok {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	if _, ok := holders(errors.New("no")); ok {
		t.Error("another error is read as a conflict of owners")
	}
}

func FuzzLabelsIn(f *testing.F) {
	f.Add(`{"f:metadata":{"f:labels":{".":{},"f:site":{}}}}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, raw string) {
		fields := &metav1.FieldsV1{}
		fields.SetRawString(raw)
		keys, err := labelsIn(fields)
		if err != nil && keys != nil {
			t.Errorf("keys %v and the error %v", keys, err)
		}
	})
}
