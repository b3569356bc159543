package operator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator"
)

// A status is the operator's: what a backup tool, a script or a person writes into
// it is set right within seconds, what the operator itself leaves out of it too, at
// most once a second, and then nothing more is written.
func TestAStatusThatSomebodyElseWroteIsSetRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patches := &counting{}
	w.operate(func(o *operator.Options) { o.RestConfig = patches.wrap(w.api.Config) })
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	want := w.ready(ns, "web", v1alpha1.ReasonAllSucceeded).Status
	device := func() *v1alpha1.Device {
		d, err := w.fleet.FleetV1alpha1().Devices().Get(t.Context(), "pi-01", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	eventually(t, "the Device", func() string {
		if n := device().Status.Deployments; n == nil || n.Running != 1 {
			return fmt.Sprint(n)
		}
		return ""
	})
	wantDevice := device().Status

	began := time.Now()
	_, err := w.fleet.FleetV1alpha1().Deployments(ns).Patch(t.Context(), "web", types.MergePatchType, []byte(
		`{"status":{"observedGeneration":0,"aggregate":{"matchedDeviceCount":99,"succeeded":99,"failed":0,"pending":0,`+
			`"lastError":{"device":"pi-99","reason":"Invented"}},"conditions":[]}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.fleet.FleetV1alpha1().Devices().Patch(t.Context(), "pi-01", types.MergePatchType, []byte(
		`{"status":{"agentVersion":"0","reportedLabels":{"invented":"x"},"labelConflicts":[{"key":"a","reported":"b","manager":"c"}],`+
			`"conditions":[{"type":"Online","status":"False","reason":"PulseMissed","message":"x","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`),
		metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	plain := func(cs []metav1.Condition) map[string]string {
		m := map[string]string{}
		for _, c := range cs {
			m[c.Type] = fmt.Sprint(c.Status, " ", c.Reason, ": ", c.Message)
		}
		return m
	}
	eventually(t, "the Deployment's status is set right", func() string {
		got := w.deployment(ns, "web").Status
		return cmp.Diff(want.Aggregate, got.Aggregate) + cmp.Diff(plain(want.Conditions), plain(got.Conditions))
	})
	eventually(t, "the Device's status is set right", func() string {
		got := device().Status
		return cmp.Diff(wantDevice.ReportedLabels, got.ReportedLabels) + cmp.Diff(wantDevice.LabelConflicts, got.LabelConflicts) +
			cmp.Diff(wantDevice.AgentVersion, got.AgentVersion) + cmp.Diff(plain(wantDevice.Conditions), plain(got.Conditions))
	})
	took := time.Since(began)
	if n := patches.since(began); n > int(took/time.Second)+2 {
		t.Errorf("%d patches in %v", n, took)
	}
	// Nothing is written any more: a window, as there is nothing to wait for.
	generations := w.deployment(ns, "web").ResourceVersion + " " + device().ResourceVersion
	time.Sleep(3 * time.Second)
	if got := w.deployment(ns, "web").ResourceVersion + " " + device().ResourceVersion; got != generations {
		t.Errorf("still written: versions %s, then %s", generations, got)
	}
	if c := meta.FindStatusCondition(w.deployment(ns, "web").Status.Conditions, v1alpha1.ConditionReady); c.ObservedGeneration != 1 {
		t.Errorf("observed generation %d", c.ObservedGeneration)
	}
}
