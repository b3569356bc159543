package viewdiff_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
	"fleet.nationtech.io/projections/viewdiff"
)

// Two moments of a rollout differ by what the run does, its open batch and what keeps it.
func TestTwoMomentsOfARolloutDiffer(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	till := storytest.Till
	var got []string
	before := w.Fleet(timeline.Options{})
	look := func() {
		now := w.Fleet(timeline.Options{})
		for _, c := range viewdiff.Between(before, now) {
			for _, f := range c.Fields {
				if f.Path == "status.rollout" {
					got = append(got, viewdiff.ValueText(f.After))
				}
			}
		}
		before = now
	}
	w.Apply(till, 1, storytest.Podman("a"))
	w.Rollout(till, eventlog.RolloutStarted, 1, 2)
	look()
	w.Rollout(till, eventlog.RolloutCompleted, 1, 2)
	look()
	w.Apply(till, 2, storytest.Podman("b"), storytest.Batched)
	w.Start(till, 2, 3)
	look()
	of := func(r eventlog.Rollout) eventlog.Rollout { r.Kind, r.Revision = eventlog.RunUpdate, 2; return r }
	w.Run(till, eventlog.RolloutPaused, of(eventlog.Rollout{Request: w.Ask("alice", till, eventlog.Request{Verb: eventlog.RequestPause})}), storytest.By("alice"))
	look()
	w.Run(till, eventlog.RolloutResumed, of(eventlog.Rollout{Request: w.Ask("alice", till, eventlog.Request{Verb: eventlog.RequestResume})}))
	w.Run(till, eventlog.RolloutBatchStarted, of(eventlog.Rollout{Batch: 2}))
	w.Run(till, eventlog.RolloutPaused, of(eventlog.Rollout{Reason: "BatchFailed"}))
	look()
	w.Run(till, eventlog.RolloutStarted, eventlog.Rollout{Kind: eventlog.RunRollback, Revision: 1, Score: storytest.Podman("a"), ScoreHash: eventlog.Hash(storytest.Podman("a"))})
	look()
	want := []string{
		"Immediate Progressing", "Immediate Completed", "Update Progressing, batch 1 of 2", "Update Progressing, batch 1 of 2, on hold by alice",
		"Update Paused, batch 2 of 2 (BatchFailed)", "Rollback RollingBack, revision 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status.rollout (-want +got):\n%s", diff)
	}
}
