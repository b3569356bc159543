package trace_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/trace"
)

// Whatever happens, spans are one tree: each has an id of its own and a parent that is told
// and holds it.
func TestSpansAreNestedWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w := random(t, r)
		o := trace.Options{Untraced: rapid.Bool().Draw(r, "untraced"), Devices: rapid.IntRange(0, 3).Draw(r, "limit")}
		events := traced(w.Events)
		spans := all(o, events)
		if diff := cmp.Diff(spans, all(o, events)); diff != "" {
			r.Fatal("a second time it is\n" + diff)
		}
		byID := map[[8]byte]trace.Span{}
		for _, s := range spans {
			if _, ok := byID[s.ID]; ok {
				r.Fatalf("two spans have the id %x: %s", s.ID, s.Name)
			}
			byID[s.ID] = s
		}
		for _, s := range spans {
			if s.End.Before(s.Begin) {
				r.Fatalf("%s %s ends before it begins", s.Kind, s.Device)
			}
			if s.Kind == trace.KindChange {
				if s.Parent != [8]byte{} {
					r.Fatalf("change %s has a parent", s.Deployment)
				}
				continue
			}
			p, ok := byID[s.Parent]
			if !ok {
				r.Fatalf("%s %q of %s: its parent is not told\n%s", s.Kind, s.Name, s.Device, tree(spans))
			}
			if s.TraceID != p.TraceID || s.Begin.Before(p.Begin) || s.End.After(p.End) {
				r.Fatalf("%s %q of %s, %v to %v, is not within %s %q, %v to %v", s.Kind, s.Name, s.Device, s.Begin, s.End, p.Kind, p.Name, p.Begin, p.End)
			}
		}
	})
}

// random is a log in which anything follows anything.
func random(t testing.TB, r *rapid.T) *storytest.Story {
	w := storytest.New(t)
	devices := []string{"a", "b", "c", "d"}
	keys := []fleet.Key{web, storytest.Key("shop", "db")}
	revision, given, batch := map[fleet.Key]uint64{}, map[string]uint64{}, map[fleet.Key]int{}
	gone := map[fleet.Key]bool{}      // it was deleted
	running := map[fleet.Key]uint64{} // the revision of the run that goes on
	skew := map[string]time.Duration{"a": 0, "b": -time.Hour, "c": time.Hour, "d": 300 * time.Millisecond}
	for _, k := range keys {
		revision[k]++
		w.Apply(k, revision[k], storytest.Podman("app:1"), storytest.Batched)
	}
	for range rapid.IntRange(0, 60).Draw(r, "events") {
		k, d := rapid.SampledFrom(keys).Draw(r, "deployment"), rapid.SampledFrom(devices).Draw(r, "device")
		at := w.Now().Add(skew[d])
		w.Wait(time.Duration(rapid.IntRange(0, 200_000).Draw(r, "wait")) * time.Millisecond)
		what := rapid.IntRange(0, 14).Draw(r, "event")
		if gone[k] && (what > 0 && what < 5 || what > 8 && what < 12 || what == 14) {
			continue // nothing is decided about a Deployment that was deleted
		}
		if what > 8 && what < 12 && running[k] != revision[k] {
			continue // no run goes on, or it was superseded: no batch is begun or judged
		}
		switch what {
		case 0:
			gone[k] = false
			revision[k]++
			w.Apply(k, revision[k], storytest.Podman(fmt.Sprintf("app:%d", revision[k])), storytest.Batched)
		case 1:
			w.Start(k, revision[k], 4)
			running[k] = revision[k]
			batch[k] = 1
		case 2, 3, 4:
			given[d+k.Name] = w.Give(d, k, revision[k], batch[k], uint64(rapid.IntRange(1, len(w.Events)).Draw(r, "cause")))
		case 5, 6:
			phase := rapid.SampledFrom([]eventlog.Phase{eventlog.PhasePending, eventlog.PhaseRunning, eventlog.PhaseFailed}).Draw(r, "phase")
			w.State(d, k, eventlog.DeploymentState{Phase: phase, Assignment: given[d+k.Name], LastEventAt: at})
		case 7, 8:
			kind := rapid.SampledFrom([]eventlog.Type{eventlog.AgentStepSucceeded, eventlog.AgentStepFailed}).Draw(r, "step")
			w.Step(d, k, kind, eventlog.Step{Step: "pull+create+start", Seconds: []float64{1, 7, 2}, Duration: 5, Revision: revision[k], At: at})
		case 9:
			batch[k]++
			w.Run(k, eventlog.RolloutBatchStarted, eventlog.Rollout{Revision: revision[k], Batch: batch[k]})
		case 10:
			kind := rapid.SampledFrom([]eventlog.Type{eventlog.RolloutBatchSucceeded, eventlog.RolloutBatchFailed, eventlog.RolloutPaused, eventlog.RolloutResumed}).Draw(r, "judged")
			w.Run(k, kind, eventlog.Rollout{Revision: revision[k], Batch: batch[k]})
		case 11:
			running[k] = 0
			kind := rapid.SampledFrom([]eventlog.Type{eventlog.RolloutCompleted, eventlog.RolloutAborted, eventlog.RolloutRolledBack}).Draw(r, "end")
			w.Run(k, kind, eventlog.Rollout{Revision: revision[k]})
		case 12:
			w.Withdraw(d, k, 1)
		case 13:
			w.Cleared(d, k)
		case 14:
			gone[k], running[k] = true, 0
			w.End(k, eventlog.DeploymentDeleted, "CRDeleted")
		}
	}
	return w
}
