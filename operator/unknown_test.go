package operator_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"fleet.nationtech.io/crds/v1alpha1"
)

// A misspelt field is kept, as a newer agent may know it, and said at the Deployment,
// once, until it is written as it was meant.
func TestAMisspeltFieldIsReportedInTheStatusAndAsAnEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "web", v1alpha1.ReasonNoDeviceMatches)
	write := func(field string) {
		t.Helper()
		merge := fmt.Sprintf(`{"spec":{"score":{"data":{"services":[{"name":"main","image":"app:1","%s":{"A":"b"}}]}}}}`, field)
		if _, err := w.fleet.FleetV1alpha1().Deployments(ns).Patch(t.Context(), "web", types.MergePatchType, []byte(merge), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const says = "spec.score.data.services[0].enviroment is not known to this version; did you mean env?"
	write("enviroment")
	eventually(t, "the condition", func() string {
		c := meta.FindStatusCondition(w.deployment(ns, "web").Status.Conditions, v1alpha1.ConditionUnknownFields)
		if c == nil || c.Status != metav1.ConditionTrue || !contains(c.Message, says) {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
	core := kubernetes.NewForConfigOrDie(w.api.Config)
	events := func() (n int) {
		list, err := core.EventsV1().Events(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Reason == "UnknownFields" && e.Regarding.Kind == "Deployment" && e.Regarding.Name == "web" && contains(e.Note, says) {
				n++
			}
		}
		return n
	}
	eventually(t, "the Event", func() string {
		if n := events(); n != 1 {
			return fmt.Sprintf("%d Events", n)
		}
		return ""
	})
	write("env")
	eventually(t, "the condition is gone", func() string {
		d := w.deployment(ns, "web")
		if c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionUnknownFields); c != nil || d.Status.ObservedGeneration != d.Generation {
			return fmt.Sprintf("%+v, generation %d of %d", c, d.Status.ObservedGeneration, d.Generation)
		}
		return ""
	})
	if n := events(); n != 1 {
		t.Errorf("%d Events, want one", n)
	}
}
