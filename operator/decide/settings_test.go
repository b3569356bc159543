package decide_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
)

// The log keeps spec.rollout as its author wrote it: the custom resource's struct and
// the log's read and write the same JSON.
func TestTheLogsSettingsOfARolloutAreTheCustomResources(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spec := drawRollout(t)
		inCR := encode(t, spec)
		var settings eventlog.RolloutSettings
		decode(t, inCR, &settings)
		inLog := encode(t, settings)
		if inCR != inLog {
			t.Fatalf("of the custom resource\n%s, in the log\n%s", inCR, inLog)
		}
		var back v1alpha1.RolloutSpec
		decode(t, inLog, &back)
		if again := encode(t, back); again != inCR {
			t.Fatalf("of the custom resource\n%s, and back from the log\n%s", inCR, again)
		}
	})
}

func encode(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decode(t *rapid.T, b string, v any) {
	if err := json.Unmarshal([]byte(b), v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
}

// drawRollout draws a spec that the API server takes, field by field, each there or not.
func drawRollout(t *rapid.T) v1alpha1.RolloutSpec {
	there := func(what string) bool { return rapid.Bool().Draw(t, what) }
	amount := func(what string) *intstr.IntOrString {
		if !there(what + " is there") {
			return nil
		}
		n := intstr.FromInt32(rapid.Int32Range(1, 1_000_000).Draw(t, what))
		if there(what + " is a percentage") {
			n = intstr.FromString(fmt.Sprintf("%d%%", rapid.IntRange(1, 100).Draw(t, what)))
		}
		return &n
	}
	lasts := func(what string) *metav1.Duration {
		if !there(what + " is there") {
			return nil
		}
		return &metav1.Duration{Duration: time.Duration(rapid.Int64Range(0, 720*3600*1000).Draw(t, what)) * time.Millisecond}
	}
	one := func(what string, of ...string) string {
		return rapid.SampledFrom(append(of, "")).Draw(t, what)
	}
	s := v1alpha1.RolloutSpec{
		Strategy:       v1alpha1.RolloutStrategy(one("strategy", eventlog.StrategyBatched, eventlog.StrategyImmediate)),
		MaxUnavailable: amount("maxUnavailable"), ProgressDeadline: lasts("progressDeadline"),
		OfflineDevices: one("offlineDevices", eventlog.OfflineSkip, eventlog.OfflineWait),
		OnFailure:      one("onFailure", eventlog.OnFailurePause, eventlog.OnFailureRollback, eventlog.OnFailureContinue),
		Paused:         there("paused"),
		DependsOn:      rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,5}`), 0, 8).Draw(t, "dependsOn"),
	}
	if there("successThreshold is there") {
		s.SuccessThreshold = fmt.Sprintf("%d%%", rapid.IntRange(1, 100).Draw(t, "successThreshold"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "windows") {
		s.Windows = append(s.Windows, v1alpha1.RolloutWindow{
			Schedule: one("schedule", "0 2 * * *", "@daily"), TimeZone: one("timeZone", "UTC", "Europe/Paris"),
			Duration: metav1.Duration{Duration: time.Duration(rapid.IntRange(1, 168*60).Draw(t, "minutes")) * time.Minute},
		})
	}
	if there("rate is there") {
		s.Rate = &v1alpha1.RolloutRate{Devices: rapid.Int32Range(1, 1_000_000).Draw(t, "devices"), Per: lasts("per")}
		if there("increase is there") {
			s.Rate.Increase = &v1alpha1.RolloutRateIncrease{
				AfterSucceeded: rapid.Int32Range(1, 1000).Draw(t, "afterSucceeded"), Percent: rapid.Int32Range(1, 1000).Draw(t, "percent"), MaxDevices: rapid.Int32Range(0, 1000).Draw(t, "maxDevices"),
			}
		}
	}
	for i := range rapid.IntRange(0, 10).Draw(t, "batches") {
		what := fmt.Sprintf("batch %d ", i)
		b := v1alpha1.RolloutBatch{
			Size: amount(what + "size"), Soak: lasts(what + "soak"),
			Approval: one(what+"approval", eventlog.ApprovalAutomatic, eventlog.ApprovalManual), FourEyes: there(what + "fourEyes"),
		}
		if b.Size == nil && there(what+"selector is there") {
			b.Selector = &metav1.LabelSelector{
				MatchLabels: rapid.MapOfN(rapid.StringMatching(`[a-z]{1,5}`), rapid.StringMatching(`[a-z]{0,5}`), 0, 3).Draw(t, what+"labels"),
			}
			for j := range rapid.IntRange(0, 3).Draw(t, what+"expressions") {
				b.Selector.MatchExpressions = append(b.Selector.MatchExpressions, metav1.LabelSelectorRequirement{
					Key: fmt.Sprint("key-", j), Operator: metav1.LabelSelectorOpIn,
					Values: rapid.SliceOfN(rapid.StringMatching(`[a-z]{0,5}`), 0, 3).Draw(t, what+"values"),
				})
			}
		}
		for j := range rapid.IntRange(0, 2).Draw(t, what+"gates") {
			b.Gates = append(b.Gates, v1alpha1.RolloutGate{Name: fmt.Sprint("gate-", j), Prometheus: v1alpha1.PrometheusGate{
				Server: one("server", "main"), Query: one("query", "up"), Max: one("max", "0.5"), Min: one("min", "1e-3"), For: lasts("for"),
			}})
		}
		s.Batches = append(s.Batches, b)
	}
	return s
}
