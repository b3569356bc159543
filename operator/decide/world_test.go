package decide_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

var now = time.Date(2026, 11, 24, 14, 3, 0, 0, time.UTC)

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world is a log, its fold, and the API's objects, in memory: what the shell
// does with Decide's events, without a shell.
type world struct {
	failer
	*decide.State
	log []eventlog.Draft
	seq uint64

	later    time.Duration // seconds by which the log's clock is past now
	appended func()        // is told of each event that was folded; nil: nobody is
}

func (w *world) at() time.Time { return now.Add(w.later * time.Second) }

func newWorld(t failer) *world { return &world{failer: t, State: decide.NewState(fleet.New())} }

func (w *world) append(ds ...eventlog.Draft) {
	for _, d := range ds {
		w.seq++
		w.log = append(w.log, d)
		m := d.Message("test", fmt.Sprintf("ID-%d", w.seq))
		e, err := eventlog.Decode(m.Subject, m.Header, m.Data, w.seq, w.at())
		if err != nil {
			w.Fatalf("a decided event cannot be decoded: %v", err)
		}
		fleet.Apply(w.View(), e, eventlog.Check(e))
		if w.appended != nil {
			w.appended()
		}
	}
}

// settle asks Decide until nothing is due, as the shell does, and gives the
// events that it took.
func (w *world) settle(ins ...decide.Input) []eventlog.Draft {
	w.Helper()
	from := len(w.log)
	for _, in := range ins {
		for round := 0; ; round++ {
			due, _ := decide.Release(w.State, now, decide.MaxGrants)
			if len(due) == 0 {
				var err error
				if due, err = decide.Decide(w.State, in, now); err != nil {
					w.Fatalf("decide %+v: %v", in, err)
				}
			}
			if len(due) == 0 {
				break
			}
			if round > 20 {
				w.Fatalf("decide %+v does not come to an end; it says again: %v", in, due[0])
			}
			w.append(due...)
		}
		if in.Deployment != (fleet.Key{}) {
			w.MarkDecided(in.Deployment, true)
		}
	}
	return w.log[from:]
}

// told lists events as "type subject" without the common prefix.
func told(ds []eventlog.Draft) []string {
	var s []string
	for _, d := range ds {
		s = append(s, string(d.Type)+" "+d.Subject[len("fleet.evt."):])
	}
	return s
}

type crOption func(*v1alpha1.Deployment)

// cr is a Deployment that goes out at once, unless an option says otherwise.
func cr(ns, name, image string, sel map[string]string, opts ...crOption) *v1alpha1.Deployment {
	d := &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID("uid-" + ns + "-" + name), Generation: 1},
		Spec: v1alpha1.DeploymentSpec{
			TargetSelector: metav1.LabelSelector{MatchLabels: sel},
			Score:          v1alpha1.ReconcileScore{Type: v1alpha1.ScorePodmanV0, Data: v1alpha1.ScoreData{Services: []v1alpha1.Service{{Name: "main", Image: image}}}},
			Rollout:        v1alpha1.RolloutSpec{Strategy: v1alpha1.RolloutImmediate},
		},
	}
	for _, o := range opts {
		o(d)
	}
	return d
}

func generation(n int64) crOption { return func(d *v1alpha1.Deployment) { d.Generation = n } }

func uid(u string) crOption { return func(d *v1alpha1.Deployment) { d.UID = types.UID(u) } }

func deleting(d *v1alpha1.Deployment) { at := metav1.NewTime(now); d.DeletionTimestamp = &at }

func scoreType(s v1alpha1.ScoreType) crOption {
	return func(d *v1alpha1.Deployment) { d.Spec.Score.Type = s }
}

func expression(key string, op metav1.LabelSelectorOperator, values ...string) crOption {
	return func(d *v1alpha1.Deployment) {
		d.Spec.TargetSelector.MatchExpressions = append(d.Spec.TargetSelector.MatchExpressions,
			metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: values})
	}
}

func (w *world) put(d *v1alpha1.Deployment) decide.Input {
	spec := decide.SpecOf(d)
	w.SetDeployment(spec)
	return decide.OfDeployment(spec.Key)
}

func (w *world) label(id string, kv ...string) decide.Input {
	owned := map[string]eventlog.OwnedLabel{v1alpha1.LabelDevice: {Value: id, Owner: "fleet-operator"}}
	for i := 0; i+1 < len(kv); i += 2 {
		owned[kv[i]] = eventlog.OwnedLabel{Value: kv[i+1], Owner: eventlog.OwnerDevice}
	}
	w.SetDevice(id, owned)
	return decide.OfDevice(id)
}

// tell appends what a device writes.
func (w *world) tell(subject string, typ eventlog.Type, payload any) {
	d, err := eventlog.NewDraft(subject, typ, now, payload)
	if err != nil {
		w.Fatalf("%v", err)
	}
	w.append(d)
}

func (w *world) report(id, name string, phase eventlog.Phase) {
	p := w.View().Devices[id].Pair(name)
	w.tell(eventlog.StateSubject(id, name), eventlog.StateReported, eventlog.DeploymentState{
		DeviceID: id, Deployment: name, Phase: phase, ScoreHash: p.Desired.Hash, LastEventAt: now,
	})
}

func key(s string) fleet.Key {
	var k fleet.Key
	for i := range s {
		if s[i] == '/' {
			k.Namespace, k.Name = s[:i], s[i+1:]
		}
	}
	return k
}

// assignments is who runs what, from which namespace, by the log.
func (w *world) assignments() map[string]string {
	m := map[string]string{}
	for id, dev := range w.View().Devices {
		for p := range dev.Assignments {
			if p.Assigned() {
				m[id+"."+p.Name] = p.Deployment.Key.Namespace
			}
		}
	}
	return m
}

var _ failer = (*testing.T)(nil)

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
