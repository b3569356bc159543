package rollouts_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

var begin = time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC)

// world is a fleet in memory: the operator's decisions over a log, without a server.
type world struct {
	t     *testing.T
	state *decide.State
	now   time.Time
	log   []eventlog.Event
	crs   map[fleet.Key]*v1alpha1.Deployment
}

var web = fleet.Key{Namespace: "shop", Name: "web"}

// newWorld makes a fleet of devices that are online.
func newWorld(t *testing.T, devices int) *world {
	w := &world{t: t, state: decide.NewState(fleet.New()), now: begin, crs: map[fleet.Key]*v1alpha1.Deployment{}}
	for i := range devices {
		id := device(i)
		owned := map[string]eventlog.OwnedLabel{"site": {Value: "lab", Owner: eventlog.OwnerDevice}}
		if i%10 == 0 {
			owned["ring"] = eventlog.OwnedLabel{Value: "canary", Owner: "kubectl-label"}
		}
		w.say(eventlog.DeviceSubject(id), eventlog.DeviceRelabeled, eventlog.Labels{Labels: owned})
		w.say(eventlog.DeviceSubject(id), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseReceived"})
		w.state.SetDevice(id, owned)
	}
	return w
}

func device(i int) string { return fmt.Sprintf("edge-%03d", i) }

func (w *world) view() *fleet.View { return w.state.View() }

// append folds drafts, as if the log had recorded them.
func (w *world) append(ds ...eventlog.Draft) {
	w.t.Helper()
	for _, d := range ds {
		seq := w.view().Sequence + 1
		m := d.Message("test", fmt.Sprintf("ID-%d", seq))
		e, err := eventlog.Decode(m.Subject, m.Header, m.Data, seq, w.now)
		if err != nil {
			w.t.Fatal(err)
		}
		w.log = append(w.log, e)
		fleet.Apply(w.view(), e, eventlog.Check(e))
	}
}

func (w *world) say(subject string, typ eventlog.Type, payload any) uint64 {
	w.t.Helper()
	d, err := eventlog.NewDraft(subject, typ, w.now, payload)
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(d)
	return w.view().Sequence
}

// settle asks for decisions until nothing is due.
func (w *world) settle() {
	w.t.Helper()
	w.state.Tick(w.view().Clock)
	w.state.Tick(w.now)
	for range 100 {
		due, _ := decide.Release(w.state, w.now, decide.MaxGrants)
		for key := range w.crs {
			if len(due) > 0 {
				break
			}
			var err error
			if due, err = decide.Decide(w.state, decide.OfDeployment(key), w.now); err != nil {
				w.t.Fatal(err)
			}
		}
		if len(due) == 0 {
			return
		}
		w.append(due...)
	}
	w.t.Fatal("decisions come to no end")
}

// after lets time go by.
func (w *world) after(d time.Duration) {
	w.now = w.now.Add(d)
	w.settle()
}

// apply is a person's kubectl apply.
func (w *world) apply(image string, change ...func(*v1alpha1.Deployment)) {
	w.t.Helper()
	o := manifest(image, change...)
	o.UID, o.Generation = "uid-web", 1
	if old := w.crs[web]; old != nil {
		o.Generation = old.Generation + 1
	}
	w.crs[web] = &o
	w.state.SetDeployment(decide.SpecOf(&o))
	w.settle()
}

func manifest(image string, change ...func(*v1alpha1.Deployment)) v1alpha1.Deployment {
	o := v1alpha1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: web.Namespace, Name: web.Name, UID: types.UID("")},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchLabels: map[string]string{"site": "lab"}},
			Score:          v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{Name: "main", Image: image}}}},
			Rollout:        v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutBatched},
		},
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

// sized gives a manifest the batches 2, 10 and the rest, the second with approval.
func sized(o *v1alpha1.Deployment) {
	two, ten := intstr.FromInt32(2), intstr.FromInt32(10)
	o.Spec.Rollout.Batches = []v1alpha1.RolloutBatch{{Size: &two}, {Size: &ten, Approval: eventlog.ApprovalManual}, {}}
}

func selector(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func because(cause string) func(*v1alpha1.Deployment) {
	return func(o *v1alpha1.Deployment) {
		o.Annotations = map[string]string{decide.AnnotationChangeCause: cause}
	}
}

// report lets each device that was given something report a phase of it, but for those
// of whom not says so.
func (w *world) report(phase eventlog.Phase, reason string, not ...string) {
	w.t.Helper()
	skip := map[string]bool{}
	for _, id := range not {
		skip[id] = true
	}
	for i := range len(w.view().Devices) {
		id := device(i)
		p := w.view().Devices[id].Pair(web.Name)
		if p == nil || !p.Assigned() || skip[id] || p.Answered() || p.Device.Presence.Online != fleet.OnlineTrue {
			continue
		}
		w.reportOne(id, phase, reason)
	}
}

func (w *world) reportOne(id string, phase eventlog.Phase, reason string) {
	w.t.Helper()
	p := w.view().Devices[id].Pair(web.Name)
	s := eventlog.DeploymentState{
		DeviceID: id, Deployment: web.Name, Phase: phase, Reason: reason, ScoreHash: p.Desired.Hash, Assignment: p.Desired.Sequence, LastEventAt: w.now,
	}
	w.say(eventlog.StateSubject(id, web.Name), eventlog.StateReported, s)
}

// run lets devices be well until nothing moves any more.
func (w *world) run() {
	w.t.Helper()
	for range 200 {
		before := w.view().Sequence
		w.report(eventlog.PhaseRunning, "")
		w.after(6 * time.Minute)
		if w.view().Sequence == before {
			return
		}
	}
	w.t.Fatal("the rollout comes to no end")
}

func (w *world) offline(id string) {
	w.say(eventlog.DeviceSubject(id), eventlog.DeviceOffline, eventlog.Presence{Reason: "PulseMissed"})
}

// ask is a person's request, as the command makes it.
func (w *world) ask(user, verb, reason string) {
	d := w.view().Deployments[web]
	w.say(eventlog.RequestSubject(user, web.Namespace, web.Name), eventlog.RequestMade, eventlog.Request{
		Verb: verb, Reason: reason, Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch,
	})
}

// given gives the devices that have the run's target.
func (w *world) given() []string {
	d := w.view().Deployments[web]
	var ids []string
	for i := range len(w.view().Devices) {
		if p := w.view().Devices[device(i)].Pair(web.Name); p != nil && p.Desired.Hash == d.Run.Target.Hash {
			ids = append(ids, device(i))
		}
	}
	return ids
}

// catalog is what the commands look at: a fold of the same log.
func (w *world) catalog() *resource.Catalog {
	v := fleet.New()
	for _, e := range w.log {
		fleet.Apply(v, e, eventlog.Check(e))
	}
	return resource.NewCatalog(v, w.now)
}
