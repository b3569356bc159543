package operator_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
)

// A legal CR never gets stuck: what is too long for an event is clipped, and what
// the log cannot hold is refused with a sentence, in the CR and in the log, until it
// is put right. All else goes on.
func TestALegalDeploymentIsDecidedOrRefusedWithAReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns, site := w.api.Namespace(t), map[string]string{"site": "lab"}
	explained := deployment(ns, "explained", "app:1", site)
	explained.Annotations = map[string]string{decide.AnnotationChangeCause: strings.Repeat("why ", 253<<8)}
	w.apply(explained)
	web := deployment(ns, "web", "app:1", site)
	web.Annotations = map[string]string{decide.AnnotationChangeCause: strings.Repeat("why ", 60<<8)}
	w.apply(web)
	w.ready(ns, "explained", v1alpha1.ReasonAllSucceeded)
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)

	serial := func(number string) { w.merge(ns, "web", `{"spec":{"score":{"data":{"x-serial":`+number+`}}}}`) }
	serial("9007199254740992")
	if d := w.ready(ns, "web", v1alpha1.ReasonAllSucceeded); d.Status.Revision != 2 {
		t.Errorf("revision %d, want 2", d.Status.Revision)
	}
	serial("9007199254740993")
	w.refused(ns, "web", v1alpha1.ReasonUnsupportedScore, "score.data.x-serial is the number 9007199254740993")
	w.merge(ns, "web", fmt.Sprintf(`{"spec":{"score":{"data":{"x-serial":"1","x":%q}}}}`, strings.Repeat("x", v1alpha1.MaxScoreBytes)))
	w.refused(ns, "web", v1alpha1.ReasonTooLarge, "at most 204800 fit into the event log")
	w.apply(deployment(ns, "beside", "app:1", site))
	w.ready(ns, "beside", v1alpha1.ReasonAllSucceeded)
	w.merge(ns, "web", `{"spec":{"score":{"data":{"x":"2"}}}}`)
	if d := w.ready(ns, "web", v1alpha1.ReasonAllSucceeded); d.Status.Revision != 3 {
		t.Errorf("revision %d after it was put right, want 3", d.Status.Revision)
	}
	want := []string{
		"deployment.applied", "rollout.started", "rollout.completed", // 1
		"deployment.applied", "rollout.started", "rollout.completed", // 2
		"deployment.refused", "deployment.refused", "deployment.applied", "rollout.started", "rollout.completed",
	}
	eventually(t, "the log has each once", func() string {
		var got []string
		for _, s := range w.told(eventlog.FamilyDeployment) {
			if kind, ok := strings.CutSuffix(s, " "+ns+"/web"); ok {
				got = append(got, kind)
			}
		}
		if !slices.Equal(got, want) {
			return fmt.Sprint(got)
		}
		return ""
	})

	// A Deployment that was only ever refused goes like any other.
	large := deployment(ns, "large", "app:1", site)
	if err := json.Unmarshal(fmt.Appendf(nil, `{"services":[{"name":"main","image":"app:1"}],"x":%q}`, strings.Repeat("x", v1alpha1.MaxScoreBytes)), &large.Spec.Score.Data); err != nil {
		t.Fatal(err)
	}
	w.apply(large)
	w.refused(ns, "large", v1alpha1.ReasonTooLarge, "")
	if err := w.fleet.FleetV1alpha1().Deployments(ns).Delete(t.Context(), "large", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log forgets it", func() string {
		if got := w.told(eventlog.FamilyDeployment); got[len(got)-1] != "deployment.deleted "+ns+"/large" {
			return fmt.Sprint(got)
		}
		return ""
	})
}

func TestADeviceWithMoreLabelsThanTheLogTakesSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	condition := func() *metav1.Condition {
		d, err := w.fleet.FleetV1alpha1().Devices().Get(t.Context(), "pi-01", metav1.GetOptions{})
		if err != nil {
			return nil
		}
		return meta.FindStatusCondition(d.Status.Conditions, status.ConditionDecisionFailed)
	}
	eventually(t, "the Device", func() string {
		if got := w.told(eventlog.FamilyDevice); !slices.Contains(got, "device.relabeled pi-01") {
			return fmt.Sprint(got)
		}
		return ""
	})
	label := func(value string) {
		t.Helper()
		var ls []string
		for i := range 3000 {
			ls = append(ls, fmt.Sprintf(`"example.com/key-%d":%s`, i, value))
		}
		_, err := w.fleet.FleetV1alpha1().Devices().Patch(t.Context(), "pi-01", types.MergePatchType,
			[]byte(`{"metadata":{"labels":{`+strings.Join(ls, ",")+`}}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	label(`"x"`)
	eventually(t, "its condition", func() string {
		if c := condition(); c == nil || c.Reason != v1alpha1.ReasonTooLarge || !strings.Contains(c.Message, "remove some") {
			return fmt.Sprint(c)
		}
		return ""
	})
	label("null")
	eventually(t, "the condition goes", func() string {
		if c := condition(); c != nil {
			return c.Message
		}
		return ""
	})
}

func (w *world) merge(ns, name, merge string) {
	w.t.Helper()
	_, err := w.fleet.FleetV1alpha1().Deployments(ns).Patch(w.t.Context(), name, types.MergePatchType, []byte(merge), metav1.PatchOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

// refused waits for the CR and the log to say the same sentence of a Deployment.
func (w *world) refused(ns, name, reason, says string) {
	w.t.Helper()
	c := meta.FindStatusCondition(w.ready(ns, name, reason).Status.Conditions, v1alpha1.ConditionReady)
	if c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, says) {
		w.t.Errorf("Ready=%s: %q, want it to say %q", c.Status, c.Message, says)
	}
	eventually(w.t, "the log says why", func() string {
		var last eventlog.Refusal
		for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{}) {
			if err != nil {
				w.t.Fatal(err)
			}
			if e.Type == eventlog.DeploymentRefused && e.Address.Name == name {
				if last, err = eventlog.Payload[eventlog.Refusal](e); err != nil {
					w.t.Fatal(err)
				}
			}
		}
		if last.Reason != c.Reason || last.Message != c.Message || last.Generation != c.ObservedGeneration {
			return fmt.Sprintf("%+v", last)
		}
		return ""
	})
}
