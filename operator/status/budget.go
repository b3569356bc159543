package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/rollout"
)

// Budgets is all that a DisruptionBudget's status is made of.
type Budgets struct {
	Spec     decide.BudgetSpec
	Recorded bool              // the log has this spec
	Failed   *decide.Problem   // why the log has not
	Use      *decide.BudgetUse // nil: the budget binds nothing
	Previous v1alpha1.DisruptionBudgetStatus
}

// Budget is the status that follows.
func Budget(in Budgets, now time.Time) v1alpha1.DisruptionBudgetStatus {
	s := v1alpha1.DisruptionBudgetStatus{ObservedGeneration: in.Spec.Generation}
	if u := in.Use; u != nil {
		s.Matched, s.Down, s.Groups = int32(u.Matched), int32(u.Down), int32(u.Groups)
		s.Allowed, s.Remaining, s.TightestGroup = int32(u.Allowed), int32(u.Remaining), u.Tightest
		s.Blocked, s.BlockedDevices = int32(u.Blocked), u.Examples
	}
	ready := budgetReady(in)
	ready.Type, ready.ObservedGeneration, ready.LastTransitionTime = v1alpha1.ConditionReady, in.Spec.Generation, metav1.NewTime(now)
	s.Conditions = append(s.Conditions, in.Previous.Conditions...)
	meta.SetStatusCondition(&s.Conditions, ready)
	return s
}

func budgetReady(in Budgets) metav1.Condition {
	switch {
	case in.Spec.Problem != nil:
		return condition(metav1.ConditionFalse, in.Spec.Problem.Reason, "the budget bounds nothing: %s", in.Spec.Problem.Message)
	case in.Failed != nil:
		return condition(metav1.ConditionFalse, in.Failed.Reason, "%s", in.Failed.Message)
	case !in.Recorded || in.Use == nil:
		return condition(metav1.ConditionUnknown, v1alpha1.ReasonNotRecorded, "generation %d observed, not yet recorded in the event log", in.Spec.Generation)
	case in.Use.Matched == 0:
		return condition(metav1.ConditionTrue, v1alpha1.ReasonInForce, "no device matches the selector %s", in.Spec.Selector)
	}
	u := in.Use
	return condition(metav1.ConditionTrue, v1alpha1.ReasonInForce, "%d of %s down; %s%s", u.Down, rollout.DevicesText(u.Matched), left(u), waiting(u))
}

// left says how much of the budget is left where it is tightest.
func left(u *decide.BudgetUse) string {
	group := ""
	if len(u.Tightest) > 0 {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(u.Tightest)) {
			labels = append(labels, key+"="+u.Tightest[key])
		}
		group = "in group " + strings.Join(labels, ",") + ", "
	}
	return fmt.Sprintf("%s%d more may be changed (%d may be down)", group, u.Remaining, u.Allowed)
}

func waiting(u *decide.BudgetUse) string {
	switch u.Blocked {
	case 0:
		return ""
	case 1:
		return "; 1 device waits for the budget: " + u.Examples[0]
	}
	more := ""
	if u.Blocked > len(u.Examples) {
		more = ", …"
	}
	return fmt.Sprintf("; %d devices wait for the budget: %s%s", u.Blocked, strings.Join(u.Examples, ", "), more)
}
