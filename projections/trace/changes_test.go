package trace_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/trace"
)

func TestWhereInTheLogEachChangeLies(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	first := w.Apply(web, 1, storytest.Podman("app:1"))
	run := w.Rollout(web, eventlog.RolloutStarted, 1, 1)
	given := w.Assign("pi-01", web, 1, first)
	w.State("pi-01", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Assignment: given})
	completed := w.Rollout(web, eventlog.RolloutCompleted, 1, 1)
	until := w.Events[completed-1].Recorded.Add(2 * time.Minute)
	restarted := w.Rollout(web, eventlog.RolloutStarted, 1, 1)
	second := w.Apply(web, 2, storytest.Podman("app:2"))
	superseded := w.Events[second-1].Recorded.Add(2 * time.Minute)
	rerun := w.Rollout(web, eventlog.RolloutStarted, 2, 1)
	back := w.Run(web, eventlog.RolloutStarted, eventlog.Rollout{Revision: 1, Kind: eventlog.RunRollback})

	var own []eventlog.Event
	for _, e := range w.Events {
		if e.Address.Family == eventlog.FamilyDeployment {
			own = append(own, e)
		}
	}
	got := trace.Changes(web, own)
	want := []trace.Extent{
		{Revision: 1, From: first, Ended: completed, Runs: []uint64{run}, Until: until},
		{Revision: 1, From: restarted, Ended: second, Runs: []uint64{restarted}, Until: superseded},
		{Revision: 2, From: second, Runs: []uint64{rerun, back}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(trace.Extent{}, "TraceID")); diff != "" {
		t.Error("(-want +got)\n" + diff)
	}
	ids := map[[16]byte]bool{}
	for _, s := range all(trace.Options{Untraced: true}, w.Events) {
		ids[s.TraceID] = true
	}
	for _, x := range got {
		if !ids[x.TraceID] {
			t.Errorf("no span is of trace %x", x.TraceID)
		}
	}
	if len(ids) != len(got) {
		t.Errorf("%d traces, and %d changes", len(ids), len(got))
	}
	if none := trace.Changes(storytest.Key("shop", "db"), own); len(none) != 0 {
		t.Errorf("%d changes of a Deployment that is not there", len(none))
	}
}
