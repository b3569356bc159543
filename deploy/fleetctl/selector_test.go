package fleetctl_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
	"fleet.nationtech.io/projections/explain"
	"fleet.nationtech.io/projections/selectors"
)

// An explanation evaluates selectors without Kubernetes, and as Kubernetes does.
func TestSelectorsSelectAsInKubernetes(t *testing.T) {
	t.Parallel()
	key := rapid.SampledFrom([]string{"a", "b", "c"})
	value := rapid.SampledFrom([]string{"", "x", "y"})
	rapid.Check(t, func(t *rapid.T) {
		s := eventlog.Selector{MatchLabels: rapid.MapOfN(key, value, 0, 2).Draw(t, "labels")}
		for range rapid.IntRange(0, 3).Draw(t, "expressions") {
			r := eventlog.SelectorRequirement{Key: key.Draw(t, "key"), Operator: rapid.SampledFrom([]string{"In", "NotIn", "Exists", "DoesNotExist"}).Draw(t, "operator")}
			if r.Operator == "In" || r.Operator == "NotIn" {
				r.Values = rapid.SliceOfN(value, 1, 2).Draw(t, "values")
			}
			s.MatchExpressions = append(s.MatchExpressions, r)
		}
		theirs := metav1.LabelSelector{MatchLabels: s.MatchLabels}
		for _, r := range s.MatchExpressions {
			theirs.MatchExpressions = append(theirs.MatchExpressions, metav1.LabelSelectorRequirement{
				Key: r.Key, Operator: metav1.LabelSelectorOperator(r.Operator), Values: r.Values,
			})
		}
		selector, err := metav1.LabelSelectorAsSelector(&theirs)
		if err != nil {
			t.Fatal(err) // every drawn selector is legal
		}
		on := rapid.MapOf(key, value).Draw(t, "device")
		want := selector.Matches(labels.Set(on)) && !selector.Empty() // the operator refuses an empty one
		if got := selectors.Selects(s, on); got != want {
			t.Fatalf("%s on %v: %v, in Kubernetes %v", selectors.SelectorText(s), on, got, want)
		}
	})
}

// An explanation has words of its own for every reason that an agent reports.
func TestEveryReasonOfAnAgentIsExplained(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{
		engine.ReasonImagePullFailed, engine.ReasonImageNotFound, engine.ReasonImageAccessDenied, engine.ReasonImageRateLimited,
		engine.ReasonImageNotPresent, engine.ReasonInvalidImage, engine.ReasonPortInUse, engine.ReasonNameTaken, engine.ReasonInvalidContainer,
		engine.ReasonContainerGone, engine.ReasonCreateFailed, engine.ReasonStartFailed, engine.ReasonStopFailed, engine.ReasonRemoveFailed,
		engine.ReasonExecFailed, engine.ReasonEngineAway, engine.ReasonObserveFailed,
		plan.ReasonCrashLoop, plan.ReasonContainerExited, plan.ReasonUnhealthy, plan.ReasonCreating, plan.ReasonReplacing, plan.ReasonStarting,
		plan.ReasonRemoving, plan.ReasonUnknownDeployment, score.ReasonUnsupportedScore, score.ReasonInvalidScore,
	} {
		if !explain.KnowsReason(reason) {
			t.Errorf("%s has no words", reason)
		}
	}
}
