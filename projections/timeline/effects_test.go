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

// An event is an effect of another one where the chain of its causes has that one, and it is as
// many steps away.
func TestTheEffectsOfAnEventAreThoseWhoseCausesHaveIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 30).Draw(t, "events")
		var all []eventlog.Event
		for i := range n {
			e := eventlog.Event{Sequence: uint64(i + 1), ID: string(rune('A' + i))}
			if cause := rapid.IntRange(-1, i-1).Draw(t, "cause"); cause >= 0 {
				e.CausationID = all[cause].ID
			}
			all = append(all, e)
		}
		from := rapid.IntRange(0, n-2).Draw(t, "from")
		effects := timeline.NewEffects(all[from])
		for i := from + 1; i < n; i++ {
			chain := timeline.Causes(all[:i], all[i])
			slices.Reverse(chain)
			want := 1 + slices.IndexFunc(chain, func(e eventlog.Event) bool { return e.Sequence == all[from].Sequence })
			if diff := cmp.Diff(want, effects.Add(all[i])); diff != "" {
				t.Fatalf("event %d after event %d (-its causes +the effects):\n%s", i+1, from+1, diff)
			}
		}
	})
}

// A report is an effect of the assignment that it speaks of.
func TestAReportIsAnEffectOfItsAssignment(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	w.Device("pi-01", map[string]string{"site": "lab"})
	applied := w.Apply(storytest.Till, 1, storytest.Podman("nginx:1"))
	given := w.Assign("pi-01", storytest.Till, 1, applied)
	failed := w.State("pi-01", storytest.Till, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Revision: 1, Assignment: given})
	for of, want := range map[uint64]int{given: 1, applied: 2, given - 2: 0} {
		effects := timeline.NewEffects(w.Events[of-1])
		got := 0
		for _, e := range w.Events[of:failed] {
			got = effects.Add(e)
		}
		if got != want {
			t.Errorf("the report is %d steps from event %d, want %d", got, of, want)
		}
	}
}
