package status_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// inItsFirstBatch is a Deployment on three devices, of which two are in the open batch.
func inItsFirstBatch(p *decide.Progress) status.Deployments {
	return status.Deployments{
		Spec: spec(), Placed: true, Progress: p, Previous: v1alpha1.DeploymentStatus{ObservedGeneration: 3},
		Log: &fleet.Deployment{Counts: fleet.Counts{Matched: 3}, Spec: eventlog.Deployment{Revision: 7, Generation: 3, ScoreHash: "h"}, Run: fleet.Run{
			ID: 1, Kind: eventlog.RunUpdate, Target: fleet.Target{Revision: 7, Content: "h"}, Batch: 1, Phase: fleet.PhaseProgressing,
			Batches: []eventlog.PlannedBatch{{Size: 2}, {Size: 1}},
		}},
	}
}

// What a batch waits for is one word and one sentence, in status.rollout and in the
// condition Progressing.
func TestWhatAnOpenBatchWaitsFor(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		progress decide.Progress
		waiting  int
		passed   bool
		reason   string
		says     string
	}{
		"healthy devices soak":                      {decide.Progress{Open: 2}, 0, false, v1alpha1.ReasonAwaitingSoak, "its devices soak for 5m0s"},
		"one of them fails":                         {decide.Progress{Open: 2, Failing: 1}, 0, false, v1alpha1.ReasonAwaitingDevices, "1 device fails, which counts against the batch after 1m0s"},
		"no window is open":                         {decide.Progress{Shut: true, Opens: now}, 2, false, v1alpha1.ReasonAwaitingWindow, "the next window of spec.rollout.windows opens at " + now.UTC().Format("2006-01-02T15:04:05Z")},
		"no window is open, and devices soak":       {decide.Progress{Shut: true, Opens: now, Open: 2}, 0, false, v1alpha1.ReasonAwaitingSoak, "soak"},
		"no window is open for the next batch":      {decide.Progress{Shut: true, Opens: now}, 0, true, v1alpha1.ReasonAwaitingWindow, "opens at"},
		"no window ever opens":                      {decide.Progress{Shut: true}, 2, false, v1alpha1.ReasonAwaitingWindow, "no window of spec.rollout.windows ever opens"},
		"the rate lets nothing be given":            {decide.Progress{Paced: true, Open: 1}, 2, false, v1alpha1.ReasonAwaitingRate, "2 devices wait for spec.rollout.rate, which is 5 devices in 1m0s now"},
		"a gate does not hold":                      {decide.Progress{Gate: "gate errors has no answer: it is away"}, 0, false, v1alpha1.ReasonAwaitingGate, "gate errors has no answer"},
		"no more may be unavailable":                {decide.Progress{}, 2, false, v1alpha1.ReasonAwaitingBudget, "no more may be unavailable"},
		"what waits for a dependency needs no hour": {decide.Progress{Shut: true, Opens: now, Blocked: 2}, 2, false, v1alpha1.ReasonAwaitingDependencies, "depends on"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tt.progress
			p.Matched, p.Batch = 3, &eventlog.RolloutCounts{Waiting: tt.waiting}
			p.Settings = rollout.Fill(eventlog.RolloutSettings{Rate: &eventlog.Rate{Devices: 5}})
			in := inItsFirstBatch(&p)
			in.Log.Run.Passed = tt.passed
			got := status.Deployment(in, now)
			if r := got.Rollout; r.Reason != tt.reason || !strings.Contains(r.Message, tt.says) {
				t.Errorf("status.rollout says %s: %q, want %s and %q", r.Reason, r.Message, tt.reason, tt.says)
			}
			if c := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionProgressing); c == nil || c.Reason != tt.reason {
				t.Errorf("Progressing is %+v, want reason %s", c, tt.reason)
			}
			if meta.IsStatusConditionTrue(got.Conditions, v1alpha1.ConditionStalled) {
				t.Errorf("it is Stalled, and goes on by itself")
			}
		})
	}
}
