package decide_test

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"pgregory.net/rapid"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	fleetstatus "fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout/rollouttest"
)

// After whatever event of whatever world: what the status of a Deployment calls stalled is
// in the list of what needs a person, and a rollout that the list calls paused, ended or
// stalled is stalled by its status.
func TestTheListOfWhatNeedsAPersonAgreesWithTheStatuses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		tw := newTwin(rt)
		w := &watchers{twin: tw, written: map[fleet.Key]v1alpha1.DeploymentStatus{}}
		tw.changed = w.agree
		said := tw.Said
		tw.Said = func(e rollouttest.Event) {
			said(e)
			w.agree()
		}
		rollouttest.Live(tw.World)
	})
}

func (w *watchers) agree() {
	view := w.engine.View()
	items := map[fleet.Key][]attention.Item{}
	for _, i := range attention.Of(view, view.Clock, attention.Facts{}) {
		k := fleet.Key{Namespace: i.Namespace, Name: i.Name}
		items[k] = append(items[k], i)
	}
	for _, d := range w.State.ByApplied() {
		k := key(d.Key)
		spec, ok := w.engine.Deployment(k)
		log := view.Deployments[k]
		if !ok || spec.Deleting || log == nil || log.Lifecycle != fleet.Applied || log.Spec.Generation != spec.Generation {
			continue
		}
		ended := log.Run.Phase == fleet.PhaseRolledBack || log.Run.Phase == fleet.PhaseAborted && log.Run.Kind != eventlog.RunRestart
		if ended && log.Rejected != log.Spec.ScoreHash {
			continue // of a content before this one: the next run starts at once
		}
		s := fleetstatus.Deployment(w.input(k, spec), now)
		s = fleetstatus.Deployment(fleetstatus.Deployments{
			Spec: spec, Log: log, Placed: w.engine.Placed(k), Progress: w.engine.Progress(k), Previous: s,
		}, now)
		stalled := meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionStalled)
		ends := slices.IndexFunc(items[k], func(i attention.Item) bool {
			return i.Kind == attention.RolloutPaused || i.Kind == attention.RolloutEnded
		})
		over := log.Run.Phase == fleet.PhasePaused || log.Run.Phase == fleet.PhaseRolledBack || log.Run.Phase == fleet.PhaseAborted
		if stalled && over && ends < 0 || !stalled && ends >= 0 {
			w.explain()
			w.Fatalf("%s: its status is %+v\nand the list has %+v", k, s.Conditions, items[k])
		}
	}
}
