package timeline_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/timeline"
)

func sequences(events []eventlog.Event) (out []uint64) {
	for _, e := range events {
		out = append(out, e.Sequence)
	}
	return out
}

func TestAReportIsTracedToTheApplyThatItCameOf(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	w.Device("pi-01", map[string]string{"site": "lab"})
	w.Online("pi-01")
	asked := w.Ask("ada", storytest.Till, eventlog.Request{Verb: eventlog.RequestRestart})
	applied := w.Apply(storytest.Till, 1, storytest.Podman("nginx:1"))
	started := w.Run(storytest.Till, eventlog.RolloutStarted, eventlog.Rollout{Revision: 1}, storytest.CausedBy(applied))
	given := w.Assign("pi-01", storytest.Till, 1, started)
	failed := w.State("pi-01", storytest.Till, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Revision: 1, Assignment: given})
	answer := w.Run(storytest.Till, eventlog.RolloutResumed, eventlog.Rollout{Revision: 1}, storytest.CausedBy(asked))
	for of, want := range map[uint64][]uint64{
		failed: {applied, started, given}, given: {applied, started}, started: {applied}, applied: nil, answer: {asked},
	} {
		e := w.Events[of-1]
		if diff := cmp.Diff(want, sequences(timeline.Causes(w.Events, e))); diff != "" {
			t.Errorf("event %d (%s): %s", of, e.Type, diff)
		}
	}
}

func TestAChainOfCausesGoesBackAndEndsWhateverEventsName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := storytest.New(t)
		for i := range rapid.IntRange(1, 20).Draw(rt, "events") {
			cause := storytest.CausedBy(uint64(rapid.IntRange(0, 25).Draw(rt, "cause")))
			w.Run(storytest.Till, eventlog.RolloutResumed, eventlog.Rollout{Revision: uint64(i)}, cause)
		}
		for _, e := range w.Events {
			chain := append(timeline.Causes(w.Events, e), e)
			if !slices.IsSorted(sequences(chain)) {
				rt.Fatalf("the chain of %d is %v", e.Sequence, sequences(chain))
			}
			for i := 1; i < len(chain); i++ {
				if chain[i].CausationID != chain[i-1].ID {
					rt.Fatalf("%d is no cause of %d", chain[i-1].Sequence, chain[i].Sequence)
				}
			}
		}
	})
}
