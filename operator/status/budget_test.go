package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
)

func TestTheStatusOfADisruptionBudget(t *testing.T) {
	t.Parallel()
	spec := decide.BudgetSpec{Name: "racks", Generation: 3, Selector: labels.SelectorFromSet(labels.Set{"site": "lab"})}
	use := decide.BudgetUse{Matched: 40, Down: 3, Groups: 4, Allowed: 2, Remaining: 0, Tightest: map[string]string{"site": "lab", "rack": "7"}, Blocked: 7, Examples: []string{"a", "b", "c", "d", "e"}}
	plain := decide.BudgetUse{Matched: 1, Groups: 1, Allowed: 1, Remaining: 1}
	one := plain
	one.Down, one.Remaining, one.Blocked, one.Examples = 1, 0, 1, []string{"a"}
	nobody := decide.BudgetUse{}
	odd := spec
	odd.Problem = &decide.Problem{Reason: v1alpha1.ReasonInvalidBudget, Message: "write one number"}
	for name, tt := range map[string]struct {
		in     status.Budgets
		status metav1.ConditionStatus
		reason string
		says   string
		counts v1alpha1.DisruptionBudgetStatus
	}{
		"it is used up in a group, and devices wait": {
			status.Budgets{Spec: spec, Recorded: true, Use: &use},
			metav1.ConditionTrue, v1alpha1.ReasonInForce,
			"3 of 40 devices down; in group rack=7,site=lab, 0 more may be changed (2 may be down); 7 devices wait for the budget: a, b, c, d, e, …",
			v1alpha1.DisruptionBudgetStatus{
				Matched: 40, Down: 3, Groups: 4, Allowed: 2, TightestGroup: map[string]string{"site": "lab", "rack": "7"}, Blocked: 7, BlockedDevices: []string{"a", "b", "c", "d", "e"},
			},
		},
		"it has room": {
			status.Budgets{Spec: spec, Recorded: true, Use: &plain},
			metav1.ConditionTrue, v1alpha1.ReasonInForce,
			"0 of 1 device down; 1 more may be changed (1 may be down)",
			v1alpha1.DisruptionBudgetStatus{Matched: 1, Groups: 1, Allowed: 1, Remaining: 1},
		},
		"one device waits": {
			status.Budgets{Spec: spec, Recorded: true, Use: &one},
			metav1.ConditionTrue, v1alpha1.ReasonInForce,
			"1 of 1 device down; 0 more may be changed (1 may be down); 1 device waits for the budget: a",
			v1alpha1.DisruptionBudgetStatus{Matched: 1, Down: 1, Groups: 1, Allowed: 1, Blocked: 1, BlockedDevices: []string{"a"}},
		},
		"it selects nobody": {
			status.Budgets{Spec: spec, Recorded: true, Use: &nobody},
			metav1.ConditionTrue, v1alpha1.ReasonInForce,
			"no device matches the selector site=lab",
			v1alpha1.DisruptionBudgetStatus{},
		},
		"the log does not have it yet": {
			status.Budgets{Spec: spec, Use: &plain},
			metav1.ConditionUnknown, v1alpha1.ReasonNotRecorded,
			"generation 3 observed, not yet recorded in the event log",
			v1alpha1.DisruptionBudgetStatus{Matched: 1, Groups: 1, Allowed: 1, Remaining: 1},
		},
		"it cannot be used": {
			status.Budgets{Spec: odd, Recorded: true},
			metav1.ConditionFalse, v1alpha1.ReasonInvalidBudget,
			"the budget bounds nothing: write one number",
			v1alpha1.DisruptionBudgetStatus{},
		},
		"it could not be recorded": {
			status.Budgets{Spec: spec, Failed: &decide.Problem{Reason: v1alpha1.ReasonDecisionFailed, Message: "no way"}, Use: &plain},
			metav1.ConditionFalse, v1alpha1.ReasonDecisionFailed,
			"no way",
			v1alpha1.DisruptionBudgetStatus{Matched: 1, Groups: 1, Allowed: 1, Remaining: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := status.Budget(tt.in, now)
			want := tt.counts
			want.ObservedGeneration = 3
			want.Conditions = []metav1.Condition{{
				Type: v1alpha1.ConditionReady, Status: tt.status, Reason: tt.reason, Message: tt.says, ObservedGeneration: 3, LastTransitionTime: metav1.NewTime(now),
			}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			tt.in.Previous = got
			if again := status.Budget(tt.in, now.Add(time.Hour)); cmp.Diff(got, again) != "" {
				t.Errorf("an hour later it is written again:\n%s", cmp.Diff(got, again))
			}
		})
	}
}
