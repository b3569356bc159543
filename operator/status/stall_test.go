package status_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// A batch that waits for another Deployment is what kstatus calls stalled once it stood
// still for a deadline, and no more once something goes on.
func TestABatchThatWaitsForAnotherDeployment(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		stalled  time.Time
		progress decide.Progress
		reason   string
		want     bool
	}{
		"within its deadline it goes on":        {time.Time{}, decide.Progress{Blocked: 2}, v1alpha1.ReasonAwaitingDependencies, false},
		"the log says that it does not get on":  {now, decide.Progress{Blocked: 2}, v1alpha1.ReasonAwaitingDependencies, true},
		"one device alone waits":                {time.Time{}, decide.Progress{Blocked: 1}, v1alpha1.ReasonAwaitingDependencies, false},
		"a device is at work again":             {now, decide.Progress{Blocked: 2, Open: 1}, v1alpha1.ReasonAwaitingDependencies, false},
		"what it depends on is not there":       {now, decide.Progress{Missing: 2}, v1alpha1.ReasonAwaitingDependencies, true},
		"all is offline, and depends on itself": {time.Time{}, decide.Progress{Missing: 2, Cycle: true}, v1alpha1.ReasonDependencyCycle, true},
		"it depends on itself":                  {time.Time{}, decide.Progress{Blocked: 2, Cycle: true}, v1alpha1.ReasonDependencyCycle, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tt.progress
			p.Matched, p.Batch, p.Settings = 3, &eventlog.RolloutCounts{Waiting: p.Blocked}, rollout.Fill(eventlog.RolloutSettings{})
			in := inItsFirstBatch(&p)
			in.Log.Run.StalledAt = tt.stalled
			got := status.Deployment(in, now)
			if stalled := meta.IsStatusConditionTrue(got.Conditions, v1alpha1.ConditionStalled); stalled != tt.want {
				t.Errorf("Stalled is %v, want %v", stalled, tt.want)
			}
			if goes := meta.IsStatusConditionTrue(got.Conditions, v1alpha1.ConditionReconciling); goes == tt.want {
				t.Errorf("Reconciling is %v beside Stalled", goes)
			}
			if c := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionProgressing); c == nil || c.Reason != tt.reason {
				t.Errorf("Progressing is %+v, want reason %s", c, tt.reason)
			} else if waits := map[bool]string{true: "1 device waits ", false: "2 devices wait "}[p.Blocked == 1]; !strings.Contains(c.Message, waits) {
				t.Errorf("it says %q, want %q in it", c.Message, waits)
			}
		})
	}
}

// What is given to all devices at once says, too, that it waits for another Deployment.
func TestAnImmediateRolloutSaysThatItWaitsForAnother(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		progress decide.Progress
		reason   string
		stalled  bool
	}{
		"nothing waits":            {decide.Progress{}, v1alpha1.ReasonProgressing, false},
		"what it depends on fails": {decide.Progress{Blocked: 3}, v1alpha1.ReasonAwaitingDependencies, false},
		"it depends on itself":     {decide.Progress{Blocked: 3, Cycle: true}, v1alpha1.ReasonDependencyCycle, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tt.progress
			p.Matched = 3
			in := status.Deployments{
				Spec: spec(), Placed: true, Progress: &p, Previous: v1alpha1.DeploymentStatus{ObservedGeneration: 3},
				Log: &fleet.Deployment{Counts: fleet.Counts{Matched: 3, Pending: 3}, Spec: eventlog.Deployment{Revision: 7, Generation: 3, ScoreHash: "h"}, Run: fleet.Run{
					ID: 1, Kind: eventlog.RunImmediate, Target: fleet.Target{Revision: 7, Content: "h"}, Batch: 1, Phase: fleet.PhaseProgressing,
					Strategy: eventlog.StrategyImmediate, Batches: []eventlog.PlannedBatch{{Size: 3}},
				}},
			}
			got := status.Deployment(in, now)
			if c := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionProgressing); c == nil || c.Reason != tt.reason {
				t.Errorf("Progressing is %+v, want reason %s", c, tt.reason)
			}
			if stalled := meta.IsStatusConditionTrue(got.Conditions, v1alpha1.ConditionStalled); stalled != tt.stalled {
				t.Errorf("Stalled is %v, want %v", stalled, tt.stalled)
			}
			if r := got.Rollout; r == nil || r.Reason != tt.reason {
				t.Errorf("status.rollout is %+v, want reason %s", r, tt.reason)
			}
		})
	}
}

func TestTheEventOfABatchThatDoesNotGetOn(t *testing.T) {
	t.Parallel()
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject("shop", "web"), eventlog.RolloutStalled, now, eventlog.Rollout{
		Reason: v1alpha1.ReasonAwaitingDependencies, Message: "2 devices wait", Examples: []eventlog.DeviceExample{{Device: "pi-1", Reason: "R", Error: "waits for shop/db"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, ok := status.EventOf(d)
	if !ok || !e.Warning || e.Reason != "RolloutStalled" || !strings.Contains(e.Note, "AwaitingDependencies: 2 devices wait; such as pi-1") || !strings.Contains(e.Note, "shop/db") {
		t.Errorf("the Event is %+v, %v", e, ok)
	}
}
