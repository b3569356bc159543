package state_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/natstest"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/state"
	"fleet.nationtech.io/projections/asof/asoftest"
	"fleet.nationtech.io/projections/fleet"
)

// witness remembers what it is told. Nobody else has the view meanwhile.
type witness struct {
	begun  []uint64 // sequences of the views
	folded []uint64
	live   []uint64
}

// Begun implements state.Witness.
func (w *witness) Begun(v *fleet.View) { w.begun = append(w.begun, v.Sequence) }

// Folded implements state.Witness.
func (w *witness) Folded(v *fleet.View, e eventlog.Event, live bool) {
	if v.Sequence == e.Sequence {
		w.folded = append(w.folded, e.Sequence)
	}
	if live {
		w.live = append(w.live, e.Sequence)
	}
}

func sequences(from, to uint64) (all []uint64) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

func TestAWitnessIsToldOfEachEventOnceItIsFoldedAndWhichTheLogHadBefore(t *testing.T) {
	t.Parallel()
	_, js := natstest.Start(t).Connect(t)
	l := asoftest.NewLife(t, js, 10)
	l.Append(100)
	save(t, js, 60)
	w := &witness{}
	r := run(t, js, func(o *state.Options) { o.Witness = w })
	r.upTo(t, 100)
	l.Append(40)
	r.upTo(t, 140)
	r.Do(func(*decide.State) {
		if !slices.Equal(w.begun, []uint64{0, 60}) {
			t.Errorf("told of views at %v, want an empty one and the checkpoint", w.begun)
		}
		if diff := cmp.Diff(sequences(61, 140), w.folded); diff != "" {
			t.Errorf("folded (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(sequences(101, 140), w.live); diff != "" {
			t.Errorf("live (-want +got):\n%s", diff)
		}
	})
}
