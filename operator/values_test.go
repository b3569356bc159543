package operator_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/projections/fleet"
)

// value is what the variable VALUE is on a device; empty where nothing is assigned.
func (w *world) value(id, name string) string {
	w.t.Helper()
	text := w.desired(id + "." + name)
	if text == "" {
		return ""
	}
	var score struct {
		Data struct {
			Services []struct {
				Env map[string]string `json:"env"`
			} `json:"services"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &score); err != nil {
		w.t.Fatalf("%s: %v", text, err)
	}
	return score.Data.Services[0].Env["VALUE"]
}

func (w *world) values(name string, want map[string]string) {
	w.t.Helper()
	eventually(w.t, "the devices' values", func() string {
		got := map[string]string{}
		for id := range want {
			got[id] = w.value(id, name)
		}
		return cmp.Diff(want, got)
	})
}

// mostDisturbed folds the log and gives how many devices were unavailable through one
// Deployment at a time.
func (w *world) mostDisturbed(key fleet.Key) (most int) {
	w.t.Helper()
	v := fleet.New()
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		v = fleet.Apply(v, e, eventlog.Check(e))
		if d := v.Deployments[key]; d != nil {
			n := 0
			for p := range d.Assigned {
				if p.Disturbed() {
					n++
				}
			}
			most = max(most, n)
		}
	}
	return most
}

// Devices get their own values; a change of labels is brought to them a few at a time; a
// device that lacks a label says so, and gets it once it is labelled.
func TestDevicesGetTheirOwnValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	op := w.operate(pulsed)
	w.logged()
	ns := w.api.Namespace(t)
	w.simulated(5, func(int) map[string]string { return map[string]string{"site": "lab"} })
	op.online(t, 5)
	zone := func(value string, ids ...int) {
		for _, i := range ids {
			w.label(fmt.Sprintf("pi-%03d", i), "zone", &value, "kubectl-label")
		}
	}
	for i := range 5 {
		w.cr(fmt.Sprintf("pi-%03d", i))
	}
	zone("a", 0, 1, 2)
	zone("b", 3)
	d := deployment(ns, "web", "app:1", map[string]string{"site": "lab"})
	d.Spec.Score.Data.Services[0].Env = map[string]v1alpha1.EnvValue{"VALUE": "$(device.id)/$(device.labels.zone)"}
	d.Spec.Rollout = shortRollout(t, `{"maxUnavailable":1,"batches":[{"soak":"1s"}]}`)
	w.apply(d)
	w.values("web", map[string]string{"pi-000": "pi-000/a", "pi-001": "pi-001/a", "pi-002": "pi-002/a", "pi-003": "pi-003/b", "pi-004": ""})
	w.phase(ns, "web", 1, v1alpha1.RolloutCompleted)
	got := w.ready(ns, "web", v1alpha1.ReasonTemplateValueMissing)
	if s := got.Status.Rollout; s.Healthy != 4 || s.Skipped != 1 || len(s.Skips) != 1 || s.Skips[0].Reason != v1alpha1.ReasonTemplateValueMissing || s.Skips[0].Devices[0] != "pi-004" {
		t.Errorf("status.rollout is %+v", s)
	}
	for _, c := range got.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady && !strings.Contains(c.Message, "kubectl label device pi-004 zone=VALUE") {
			t.Errorf("it says %q, which does not say what to do", c.Message)
		}
		if c.Type == v1alpha1.ConditionStalled && c.Status != metav1.ConditionTrue {
			t.Errorf("Stalled is %s, and somebody has to label a device", c.Status)
		}
	}

	before := len(w.rollouts(ns, "web"))
	zone("c", 0, 1, 2, 3)
	w.values("web", map[string]string{"pi-000": "pi-000/c", "pi-001": "pi-001/c", "pi-002": "pi-002/c", "pi-003": "pi-003/c", "pi-004": ""})
	zone("c", 4)
	w.values("web", map[string]string{"pi-004": "pi-004/c"})
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	if most := w.mostDisturbed(fleet.Key{Namespace: ns, Name: "web"}); most != 1 {
		t.Errorf("%d devices were unavailable at a time, and one may be", most)
	}
	if after := w.rollouts(ns, "web"); len(after) != before {
		t.Errorf("changes of labels began rollouts: %v", after[before:])
	}
}
