package operator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator"
)

func (w *world) budget(name string) *v1alpha1.DisruptionBudget {
	w.t.Helper()
	b, err := w.fleet.FleetV1alpha1().DisruptionBudgets().Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) applyBudget(name string, maxUnavailable int, groupBy ...string) {
	w.t.Helper()
	n := intstr.FromInt(maxUnavailable)
	_, err := w.fleet.FleetV1alpha1().DisruptionBudgets().Create(w.t.Context(), &v1alpha1.DisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.DisruptionBudgetSpec{Selector: metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab"}}, MaxUnavailable: &n, GroupBy: groupBy},
	}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

// budgetSays waits until a budget's condition Ready has a message.
func (w *world) budgetSays(name, message string) *v1alpha1.DisruptionBudget {
	w.t.Helper()
	var b *v1alpha1.DisruptionBudget
	eventually(w.t, "budget "+name, func() string {
		b = w.budget(name)
		c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || !strings.Contains(c.Message, message) || b.Status.ObservedGeneration != b.Generation {
			return fmt.Sprintf("%+v", b.Status)
		}
		return ""
	})
	return b
}

// A DisruptionBudget is in the log, its status says how much of it is used, also after
// another leader took over, and what somebody else writes there is set right.
func TestADisruptionBudgetIsRecordedAndSaysHowMuchOfItIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.applyBudget("racks", 1, "rack")
	first := w.operate()
	w.logged()
	for i, rack := range []string{"a", "a", "b"} {
		w.device(fmt.Sprintf("pi-0%d", i), map[string]string{"site": "lab", "rack": rack})
	}
	b := w.budgetSays("racks", "0 of 3 devices down; in group rack=a, 1 more may be changed (1 may be down)")
	want := v1alpha1.DisruptionBudgetStatus{ObservedGeneration: 1, Matched: 3, Groups: 2, Allowed: 1, Remaining: 1, TightestGroup: map[string]string{"rack": "a"}}
	got := b.Status
	got.Conditions = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if c := meta.FindStatusCondition(b.Status.Conditions, v1alpha1.ConditionReady); c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonInForce {
		t.Errorf("condition %+v", c)
	}

	budgets := w.fleet.FleetV1alpha1().DisruptionBudgets()
	if _, err := budgets.Patch(t.Context(), "racks", types.MergePatchType, []byte(`{"status":{"matched":99,"conditions":[]}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	w.budgetSays("racks", "0 of 3 devices down")
	first.stop()
	if _, err := budgets.Patch(t.Context(), "racks", types.MergePatchType, []byte(`{"spec":{"maxUnavailable":2}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w.applyBudget("all", 0)
	w.operate(func(o *operator.Options) { o.Identity = "op-2" })
	w.budgetSays("racks", "in group rack=a, 2 more may be changed (2 may be down)")
	w.budgetSays("all", "0 of 3 devices down; 0 more may be changed (0 may be down)")
	if err := budgets.Delete(t.Context(), "racks", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	told := []string{"budget.applied all", "budget.applied racks", "budget.applied racks", "budget.deleted racks"}
	eventually(t, "the log", func() string {
		return cmp.Diff(told, slices.Sorted(slices.Values(w.told(eventlog.FamilyBudget))))
	})
}
