package timeline_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/storytest"
)

func TestAHistoryTellsARolloutBatchByBatch(t *testing.T) {
	t.Parallel()
	const till = "revision 1 by zoë@shop.example"
	tests := map[string]struct {
		tell func(*storytest.Story)
		want []string
	}{
		"a person lets it go on, and it completes": {
			func(w *storytest.Story) {
				w.Run(storytest.Till, eventlog.RolloutBatchSucceeded, eventlog.Rollout{Kind: eventlog.RunUpdate, Revision: 1, Batch: 1, Counts: &eventlog.RolloutCounts{Given: 2, Proven: 1, Offline: 1}})
				asked := w.Ask("alice", storytest.Till, eventlog.Request{Verb: eventlog.RequestPromote, Revision: 1, Batch: 1})
				w.Run(storytest.Till, eventlog.RolloutPromoted, eventlog.Rollout{Kind: eventlog.RunUpdate, Revision: 1, Batch: 1, Request: asked, Verb: eventlog.RequestPromote}, storytest.By("alice"), storytest.CausedBy(asked))
				w.Run(storytest.Till, eventlog.RolloutBatchStarted, eventlog.Rollout{Kind: eventlog.RunUpdate, Revision: 1, Batch: 2})
				w.Run(storytest.Till, eventlog.RolloutCompleted, eventlog.Rollout{Kind: eventlog.RunUpdate, Revision: 1})
			},
			[]string{
				"3 batch 1 of 2 succeeded: 1 of 2 devices proved it, 1 offline", "4 asked to promote it by alice",
				"5 the rollout was let go on after batch 1 of 2 by alice", "6 batch 2 of 2 started", "7 the rollout of revision 1 completed",
			},
		},
		"a batch fails, and a person goes back": {
			func(w *storytest.Story) {
				w.Run(storytest.Till, eventlog.RolloutBatchFailed, eventlog.Rollout{
					Kind: eventlog.RunUpdate, Revision: 1, Batch: 1, Counts: &eventlog.RolloutCounts{Given: 2, Proven: 1, Bad: 1, Silent: 1},
					Examples: []eventlog.DeviceExample{{Device: "kasse-1", Reason: "Silent"}},
				})
				w.Run(storytest.Till, eventlog.RolloutPaused, eventlog.Rollout{Kind: eventlog.RunUpdate, Revision: 1, Batch: 1, Reason: "BatchFailed", Message: "batch 1 failed"})
				asked := w.Ask("alice", storytest.Till, eventlog.Request{Verb: eventlog.RequestUndo, Revision: 1, ToRevision: 7, Reason: "it is night"})
				w.Run(storytest.Till, eventlog.RolloutStarted, eventlog.Rollout{
					Kind: eventlog.RunRollback, Revision: 7, From: 1, Devices: 1, Online: 1, Reason: "Requested", Request: asked, Message: "it is night",
				}, storytest.By("alice"), storytest.CausedBy(asked))
				w.Run(storytest.Till, eventlog.RolloutRolledBack, eventlog.Rollout{Kind: eventlog.RunRollback, Revision: 7})
			},
			[]string{
				"3 batch 1 of 2 failed: 1 of 2 devices proved it, 1 bad, at most 0 may be, 1 of these silent; kasse-1 (Silent)",
				"4 the rollout was paused (BatchFailed): batch 1 failed", "5 asked to undo it, to revision 7 by alice",
				"6 the rollback from revision 1 to revision 7 started on 1 device, 1 of them online by alice",
				"7 the rollback is through: devices have revision 7 again",
			},
		},
		"persons hold it, go on, ask too late, and abort it": {
			func(w *storytest.Story) {
				answer := func(kind eventlog.Type, verb string, r eventlog.Rollout) {
					r.Request, r.Verb, r.Kind, r.Revision = w.Ask("bob", storytest.Till, eventlog.Request{Verb: verb}), verb, eventlog.RunUpdate, 1
					w.Run(storytest.Till, kind, r, storytest.By("bob"), storytest.CausedBy(r.Request))
				}
				answer(eventlog.RolloutPaused, eventlog.RequestPause, eventlog.Rollout{Message: "lunch"})
				answer(eventlog.RolloutResumed, eventlog.RequestResume, eventlog.Rollout{})
				answer(eventlog.RolloutResumed, eventlog.RequestRetryFailed, eventlog.Rollout{})
				answer(eventlog.RolloutPromoted, eventlog.RequestPromote, eventlog.Rollout{Full: true, Batch: 1})
				answer(eventlog.RolloutRequestRefused, eventlog.RequestPromote, eventlog.Rollout{Reason: "Outdated", Message: "it speaks of batch 1, and the open one is 2"})
				answer(eventlog.RolloutAborted, eventlog.RequestAbort, eventlog.Rollout{})
			},
			[]string{
				"3 asked to pause it by bob", "4 the rollout was paused, as was asked by bob", "5 asked to resume it by bob", "6 the rollout was resumed by bob",
				"7 asked to give its failed devices another deadline by bob", "8 the rollout was resumed, and its failed devices got another deadline by bob",
				"9 asked to promote it by bob", "10 the rollout was let go on to its end without a judgement by bob", "11 asked to promote it by bob",
				"12 the request to promote it was refused (Outdated): it speaks of batch 1, and the open one is 2", "13 asked to abort it by bob",
				"14 the rollout of revision 1 was aborted; devices keep what they have by bob",
			},
		},
		"a gate is answered": {
			func(w *storytest.Story) {
				measured := func(verdict string, value *float64, problem string) {
					w.Run(storytest.Till, eventlog.RolloutGateMeasured, eventlog.Rollout{Kind: eventlog.RunUpdate, Revision: 1, Batch: 1, Gate: &eventlog.GateAnswer{
						Name: "errors", Server: "main", Verdict: verdict, Value: value, Error: problem,
					}})
				}
				high, low := 0.2, 0.01
				measured(eventlog.GateNone, nil, "Prometheus server main does not answer")
				measured(eventlog.GateNone, nil, "Prometheus server main does not answer") // which nobody has to read again
				measured(eventlog.GateFail, &high, "")
				measured(eventlog.GatePass, &low, "")
			},
			[]string{
				"3 batch 1 of 2: gate errors has no answer: Prometheus server main does not answer",
				"5 batch 1 of 2: gate errors does not let it go on: its value is 0.2", "6 batch 1 of 2: gate errors passes with 0.01",
			},
		},
		"the next revision takes its place": {
			func(w *storytest.Story) {
				w.Run(storytest.Till, eventlog.RolloutStalled, eventlog.Rollout{Kind: eventlog.RunUpdate, Revision: 1, Batch: 1, Reason: "BudgetExhausted", Message: "1 device waits"})
				w.Apply(storytest.Till, 2, storytest.Podman("b"), storytest.Batched)
				w.Run(storytest.Till, eventlog.RolloutSuperseded, eventlog.Rollout{Kind: eventlog.RunUpdate, Revision: 1, Message: "revision 2 takes the place of revision 1"})
				w.Start(storytest.Till, 2, 3)
			},
			[]string{
				"3 the rollout does not get on (BudgetExhausted): 1 device waits", "4 revision 2 by zoë@shop.example",
				"5 the rollout of revision 1 was superseded: revision 2 takes the place of revision 1",
				"6 the rollout of revision 2 started in 2 batches on 3 devices, 3 of them online",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := storytest.New(t)
			w.Apply(storytest.Till, 1, storytest.Podman("a"), storytest.Batched)
			w.Start(storytest.Till, 1, 2)
			tt.tell(w)
			h := w.DeploymentHistory(storytest.Till)
			want := append([]string{"1 " + till, "2 the rollout of revision 1 started in 2 batches on 2 devices, 2 of them online"}, tt.want...)
			if diff := cmp.Diff(want, entriesText(h)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			for _, e := range h.Entries {
				if e.Text == "" || e.Text == fmt.Sprint(e.Type) {
					t.Errorf("entry %d has no sentence of its own: %+v", e.Sequence, e)
				}
			}
		})
	}
}

// What goes to all devices at once is told in one line of its revision, as before there
// were batches.
func TestARolloutToAllAtOnceHasNoEntriesOfItsOwn(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	w.Apply(storytest.Till, 1, storytest.Podman("a"))
	w.Rollout(storytest.Till, eventlog.RolloutStarted, 1, 2)
	w.Rollout(storytest.Till, eventlog.RolloutCompleted, 1, 2)
	h := w.DeploymentHistory(storytest.Till)
	if len(h.Entries) != 1 || len(h.Entries[0].Rollout) != 2 {
		t.Errorf("entries: %+v", h.Entries)
	}
}
