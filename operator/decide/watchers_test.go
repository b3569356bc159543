package decide_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"fleet.nationtech.io/crds/manifests"
	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	fleetstatus "fleet.nationtech.io/operator/status"
	"fleet.nationtech.io/operator/status/argocdtest"
	"fleet.nationtech.io/projections/attention"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/rollout/rollouttest"
)

// Scripts and GitOps engines wait for a Deployment by its status. After whatever event
// of whatever world, none of them takes it for done before the devices run what the
// newest spec says: not kubectl wait, not kstatus (Flux, Helm 4), not Argo CD.
func TestWhatWaitsForADeploymentIsNeverFooled(t *testing.T) {
	t.Parallel()
	health := newHealth(t, "Deployment")
	rapid.Check(t, func(rt *rapid.T) {
		tw := newTwin(rt)
		w := &watchers{twin: tw, health: health, written: map[fleet.Key]v1alpha1.DeploymentStatus{}}
		tw.changed = w.look
		said := tw.Said
		tw.Said = func(e rollouttest.Event) {
			said(e)
			w.look()
		}
		rollouttest.Live(tw.World)
	})
}

// watchers are those who wait for the Deployments of a world.
type watchers struct {
	*twin
	health  *argocdtest.Rule
	written map[fleet.Key]v1alpha1.DeploymentStatus
}

// look writes the status of each Deployment as the operator does, and reads it as those
// who wait do: before, when only its generation may have moved, and after.
func (w *watchers) look() {
	for _, d := range w.State.ByApplied() {
		k := key(d.Key)
		spec, ok := w.engine.Deployment(k)
		if !ok {
			delete(w.written, k)
			continue
		}
		if was, ok := w.written[k]; ok && was.ObservedGeneration != spec.Generation {
			w.read(d, spec, was)
		}
		for range 2 { // the first write of a generation knows nothing yet
			s := fleetstatus.Deployment(w.input(k, spec), now)
			if was, ok := w.written[k]; ok && reflect.DeepEqual(was, s) {
				w.fooled(d, spec, s)
				break
			}
			w.written[k] = s
			w.read(d, spec, s)
		}
	}
}

func (w *watchers) input(k fleet.Key, spec decide.Spec) fleetstatus.Deployments {
	in := fleetstatus.Deployments{
		Spec: spec, Log: w.engine.View().Deployments[k], Placed: w.engine.Placed(k), Progress: w.engine.Progress(k), Previous: w.written[k],
	}
	in.Holder, in.Conflicted = w.engine.Conflict(k)
	return in
}

func (w *watchers) read(d *rollouttest.Deployment, spec decide.Spec, s v1alpha1.DeploymentStatus) {
	o := object(w.T, spec, s)
	by, err := status.Compute(o)
	if err != nil {
		w.Fatalf("kstatus: %v", err)
	}
	argo := w.health.Of(w.T, o)
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	waited := ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == spec.Generation
	complain := func(what string) {
		w.explain()
		w.Fatalf("%s %s: Ready %+v, kstatus %s (%s), Argo CD %s (%s)\n%+v", spec.Key, what, ready, by.Status, by.Message, argo.Status, argo.Message, s)
	}
	if sum := s.Rollout; sum != nil && s.ObservedGeneration == spec.Generation && w.engine.Progress(spec.Key) != nil {
		total := sum.Healthy + sum.Skipped + sum.Failed + sum.Offline + sum.Updating + sum.Waiting
		if total != s.Aggregate.MatchedDeviceCount || total != s.Aggregate.Succeeded+s.Aggregate.Failed+s.Aggregate.Pending {
			complain("has numbers that do not add up")
		}
	}
	if waited != (by.Status == status.CurrentStatus) || waited != (argo.Status == "Healthy") {
		complain("is ready for one and not for another")
	}
	stalled := meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionStalled) && s.ObservedGeneration == spec.Generation
	if (stalled && !waited) != (by.Status == status.FailedStatus) {
		complain("has failed for one and not for another")
	}
	if stalled && !waited && argo.Status != "Degraded" {
		complain("is stalled, and Argo CD does not say so")
	}
	log := w.engine.View().Deployments[spec.Key] // nil: the log has not heard of it
	recorded := log != nil && log.Spec.Generation == spec.Generation
	if recorded && argo.Status == "Suspended" && d.Run.Phase == rollouttest.Progressing && !d.Hold && !d.Spec.Paused && !d.Run.Passed {
		complain("is suspended, and no person is waited for")
	}
	if stalled && waited {
		complain("is ready and stalled")
	}
	w.fooled(d, spec, s)
}

// fooled fails the test where a Deployment is ready and its devices are not as its spec
// has them.
func (w *watchers) fooled(d *rollouttest.Deployment, spec decide.Spec, s v1alpha1.DeploymentStatus) {
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	if ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != spec.Generation {
		return
	}
	if said := w.unlike(d); said != "" {
		w.explain()
		w.Fatalf("%s is ready (%s), and %s\n%+v", spec.Key, ready.Message, said, s)
	}
}

// unlike says what of the fleet is not as a Deployment's spec has it, by the model.
func (w *watchers) unlike(d *rollouttest.Deployment) string {
	counts, matched := w.State.Standings(d, w.Now)
	switch {
	case matched == 0:
		return ""
	case d.Run.Target.Content != d.Spec.Content:
		return fmt.Sprintf("its run has content %s, its spec %s", d.Run.Target.Content, d.Spec.Content)
	case d.Run.Phase != rollouttest.Completed && d.Run.Kind != eventlog.RunImmediate:
		return fmt.Sprintf("its run is %s", d.Run.Phase)
	}
	if counts[rollout.Healthy.String()] == 0 {
		return fmt.Sprintf("no device is healthy: %v", counts)
	}
	for id, dev := range w.State.Devices {
		if st := w.State.Standing(d, dev, w.Now); d.Matches(dev) && dev.Online && st != rollout.Healthy.String() {
			return fmt.Sprintf("%s is online and %s", id, st)
		}
	}
	return ""
}

// object is a Deployment as the API server serves it.
func object(t *rapid.T, spec decide.Spec, s v1alpha1.DeploymentStatus) *unstructured.Unstructured {
	d := &v1alpha1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: spec.Key.Namespace, Name: spec.Key.Name, Generation: spec.Generation},
		Status:     s,
	}
	if spec.Deleting {
		at := metav1.NewTime(now)
		d.DeletionTimestamp = &at
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(d)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

// newHealth is Argo CD's rule for a kind of ours.
func newHealth(t testing.TB, kind string) *argocdtest.Rule {
	t.Helper()
	rule := argocdtest.Rules(t, manifests.ArgoHealth())["fleet.nationtech.io_"+kind]
	if rule == nil {
		t.Fatalf("Argo CD's ConfigMap has no health of kind %s", kind)
	}
	return rule
}

func TestArgoReadsTheHealthOfADisruptionBudget(t *testing.T) {
	t.Parallel()
	h := newHealth(t, "DisruptionBudget")
	condition := func(s metav1.ConditionStatus) v1alpha1.DisruptionBudgetStatus {
		return v1alpha1.DisruptionBudgetStatus{ObservedGeneration: 2, Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: s, Reason: "Tried", Message: "said", ObservedGeneration: 2, LastTransitionTime: metav1.NewTime(now),
		}}}
	}
	before := condition(metav1.ConditionTrue)
	before.ObservedGeneration = 1
	tests := map[string]struct {
		status v1alpha1.DisruptionBudgetStatus
		argo   string
		by     status.Status
	}{
		"one that the operator has not looked at progresses": {status: v1alpha1.DisruptionBudgetStatus{ObservedGeneration: -1}, argo: "Progressing", by: status.InProgressStatus},
		"one that was changed since progresses":              {status: before, argo: "Progressing", by: status.InProgressStatus},
		"one that is not recorded yet progresses":            {status: condition(metav1.ConditionUnknown), argo: "Progressing", by: status.InProgressStatus},
		"one that is in force is healthy":                    {status: condition(metav1.ConditionTrue), argo: "Healthy", by: status.CurrentStatus},
		"one that bounds nothing is degraded":                {status: condition(metav1.ConditionFalse), argo: "Degraded", by: status.InProgressStatus},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.DisruptionBudget{
				TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DisruptionBudget"},
				ObjectMeta: metav1.ObjectMeta{Name: "kiosks", Generation: 2}, Status: tt.status,
			})
			if err != nil {
				t.Fatal(err)
			}
			o := &unstructured.Unstructured{Object: content}
			if got := h.Of(t, o); got.Status != tt.argo {
				t.Errorf("Argo CD says %s (%s), want %s", got.Status, got.Message, tt.argo)
			}
			by, err := status.Compute(o)
			if err != nil {
				t.Fatal(err)
			}
			if by.Status != tt.by {
				t.Errorf("kstatus says %s (%s), want %s", by.Status, by.Message, tt.by)
			}
		})
	}
}

// After whatever event of whatever world: a rollout that is paused, rolled back or aborted,
// and is stalled by its Deployment's status, is in the list of what needs a person, and
// one that the list calls paused or ended is stalled by the status. What devices wait for
// is not compared: the operator knows their labels before the log does.
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
		in := w.input(k, spec)
		in.Conflicted = 0 // that stalls it too, and is an entry of its own
		in.Previous = fleetstatus.Deployment(in, now)
		s := fleetstatus.Deployment(in, now)
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
