package rolloutmetrics_test

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/internal/rolloutmetrics"
	"fleet.nationtech.io/projections/fleet"
)

var start = time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world is a log, its fold and the API's objects, with the metrics of one replica.
type world struct {
	failer
	state    *decide.State
	seq      uint64
	at       time.Time // the log's clock, and the machine's
	live     bool
	leads    bool
	witness  *rolloutmetrics.Witness
	registry *prometheus.Registry
}

func newWorld(t failer) *world {
	w := &world{failer: t, state: decide.NewState(fleet.New()), at: start, live: true, leads: true, registry: prometheus.NewRegistry()}
	w.witness = rolloutmetrics.NewWitness(w.registry)
	w.registry.MustRegister(rolloutmetrics.New(rolloutmetrics.Options{State: w, Leads: func() bool { return w.leads }, Now: func() time.Time { return w.at }}))
	w.witness.Begun(w.state.View())
	return w
}

// Do implements rolloutmetrics.State.
func (w *world) Do(fn func(*decide.State)) { fn(w.state) }

// Current implements rolloutmetrics.State.
func (w *world) Current() bool { return true }

func (w *world) append(drafts ...eventlog.Draft) {
	w.Helper()
	for _, d := range drafts {
		w.seq++
		m := d.Message("test", fmt.Sprintf("ID-%d", w.seq))
		e, err := eventlog.Decode(m.Subject, m.Header, m.Data, w.seq, w.at)
		if err != nil {
			w.Fatalf("an event cannot be decoded: %v", err)
		}
		fleet.Apply(w.state.View(), e, eventlog.Check(e))
		w.witness.Folded(w.state.View(), e, w.live)
	}
}

func (w *world) tell(subject string, typ eventlog.Type, payload any) {
	w.Helper()
	d, err := eventlog.NewDraft(subject, typ, w.at, payload)
	if err != nil {
		w.Fatalf("%v", err)
	}
	w.append(d)
}

// settle asks for decisions until nothing is due.
func (w *world) settle(ins ...decide.Input) {
	w.Helper()
	w.state.Tick(w.at)
	for round, again := 0, true; again; round++ {
		if round > 200 {
			w.Fatalf("decisions do not come to an end")
		}
		again = false
		said := func(due []eventlog.Draft, err error) {
			if err != nil {
				w.Fatalf("decide: %v", err)
			}
			w.append(due...)
			again = again || len(due) > 0
		}
		due, _ := decide.Release(w.state, w.at, decide.MaxGrants)
		said(due, nil)
		for _, in := range ins {
			said(decide.Decide(w.state, in, w.at))
		}
		for key := range w.state.Deployments {
			said(decide.Decide(w.state, decide.OfDeployment(key), w.at))
			said(decide.Decide(w.state, decide.OfProgress(key), w.at))
		}
		said(decide.Due(w.state, w.at))
	}
}

func (w *world) device(id, site string) {
	w.Helper()
	owned := map[string]eventlog.OwnedLabel{
		v1alpha1.LabelDevice: {Value: id, Owner: "fleet-operator"}, "site": {Value: site, Owner: eventlog.OwnerDevice},
	}
	w.state.SetDevice(id, owned)
	w.settle(decide.OfDevice(id))
}

func (w *world) presence(id string, kind eventlog.Type) {
	w.Helper()
	w.tell(eventlog.DeviceSubject(id), kind, eventlog.Presence{LastSeen: w.at})
	w.settle(decide.OfDevice(id))
}

// report tells how a device fares with what it is to run; nothing where it is to run
// nothing.
func (w *world) report(id string, k fleet.Key, phase eventlog.Phase) {
	w.Helper()
	dev := w.state.View().Devices[id]
	if dev == nil || dev.Pair(k.Name) == nil || !dev.Pair(k.Name).Assigned() {
		return
	}
	p := dev.Pair(k.Name)
	w.tell(eventlog.StateSubject(id, k.Name), eventlog.StateReported, eventlog.DeploymentState{
		DeviceID: id, Deployment: k.Name, Phase: phase, ScoreHash: p.Desired.Hash, Assignment: p.Desired.Sequence, LastEventAt: w.at,
	})
	w.settle(decide.OfDevice(id))
}

func (w *world) request(k fleet.Key, verb string) {
	w.Helper()
	d := w.state.View().Deployments[k]
	w.tell(eventlog.RequestSubject("ada", k.Namespace, k.Name), eventlog.RequestMade, eventlog.Request{
		Verb: verb, Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch,
	})
	w.settle()
}

// put applies a Deployment for the devices of some sites.
func (w *world) put(k fleet.Key, generation int64, image string, change func(*v1alpha1.RolloutSpec), sites ...string) {
	w.Helper()
	soak, size, most := metav1.Duration{Duration: time.Minute}, intstr.FromInt32(2), intstr.FromInt32(2)
	d := &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, UID: types.UID("uid-" + k.String()), Generation: generation},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: metav1.LabelSelectorOpIn, Values: sites}}},
			Score: v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{
				Services: []v1alpha1.Service{{Name: "main", Image: image}},
			}},
			Rollout: v1alpha1.RolloutSpec{
				Batches: []v1alpha1.RolloutBatch{{Size: &size, Soak: &soak}, {Soak: &soak}}, MaxUnavailable: &most,
			},
		},
	}
	if change != nil {
		change(&d.Spec.Rollout)
	}
	spec := decide.SpecOf(d)
	if spec.Problem != nil {
		w.Fatalf("%s: %s", k, spec.Problem.Message)
	}
	w.state.SetDeployment(spec)
	w.settle(decide.OfDeployment(k))
}

func (w *world) budget(name string, most int) {
	w.state.SetBudget(decide.BudgetSpec{
		Name: name, Selector: labels.SelectorFromSet(labels.Set{"site": "x"}), Recorded: eventlog.Budget{MaxUnavailable: &eventlog.Amount{N: most}},
	})
	w.settle()
}

func (w *world) pass(d time.Duration) {
	w.Helper()
	w.at = w.at.Add(d)
	w.settle()
}

// series are the values of all metrics, by name and labels; a histogram's are its count
// and sum.
func (w *world) series() map[string]float64 {
	w.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.Fatalf("%v", err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName() + "{"
			for i, l := range m.GetLabel() {
				if i > 0 {
					name += ","
				}
				name += l.GetName() + "=" + l.GetValue()
			}
			name += "}"
			switch {
			case m.GetHistogram() != nil:
				out[name+" count"] = float64(m.GetHistogram().GetSampleCount())
				out[name+" sum"] = m.GetHistogram().GetSampleSum()
			case m.GetCounter() != nil:
				out[name] = m.GetCounter().GetValue()
			default:
				out[name] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}
