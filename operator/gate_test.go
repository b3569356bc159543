package operator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/operator/internal/gates/prometheustest"
)

// verdicts lists how the gates of a Deployment were answered, each change once.
func (w *world) verdicts(ns, name string) (said []string) {
	w.t.Helper()
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: []string{eventlog.DeploymentSubject(ns, name)}}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Type != eventlog.RolloutGateMeasured {
			continue
		}
		r, err := eventlog.Payload[eventlog.Rollout](e)
		if err != nil {
			w.t.Fatal(err)
		}
		text := fmt.Sprintf("%s %s", r.Gate.Name, r.Gate.Verdict)
		if r.Gate.Value != nil {
			text += fmt.Sprint(" ", *r.Gate.Value)
		}
		said = append(said, text)
	}
	return slices.Compact(said)
}

// answers are the verdicts that are an answer: a server may miss a question on a busy machine.
func (w *world) answers(ns, name string) []string {
	w.t.Helper()
	return slices.Compact(slices.DeleteFunc(w.verdicts(ns, name), func(said string) bool { return strings.HasSuffix(said, " none") }))
}

// update gives a Deployment another image, and other settings of its rollout.
func (w *world) update(ns, name, image, rollout string) {
	w.t.Helper()
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/score/data/services/0/image","value":%q},{"op":"add","path":"/spec/rollout","value":%s}]`, image, rollout)
	if _, err := w.fleet.FleetV1alpha1().Deployments(ns).Patch(w.t.Context(), name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// Of two hundred devices: a gate whose real Prometheus is away, comes back, says no and then yes; beside it one
// that hears no, and one that hears nothing, for a whole deadline.
func TestGatesHoldARolloutUntilPrometheusSaysYes(t *testing.T) {
	t.Parallel()
	prometheus := prometheustest.Start(t)
	away := prometheustest.Start(t)
	away.Kill()
	const devices = 200
	prometheus.Say("bad 0.5\n")
	w := newWorld(t)
	op := w.operate(pulsed, func(o *operator.Options) {
		o.Prometheus = []operator.PrometheusServer{{Name: "main", URL: prometheus.URL}, {Name: "away", URL: away.URL}}
	})
	w.logged()
	w.simulated(devices, func(int) map[string]string { return map[string]string{"site": "lab"} })
	ns := w.api.Namespace(t)
	op.online(t, devices)
	names := []string{"web", "no", "silent"}
	for _, name := range names {
		d := deployment(ns, name, "app:1", map[string]string{"site": "lab"})
		d.Spec.Rollout = shortRollout(t, "{}")
		w.apply(d)
	}
	for _, name := range names {
		w.phase(ns, name, 1, v1alpha1.RolloutCompleted)
	}
	gated := func(server, query, deadline string) string {
		return fmt.Sprintf(`{"batches":[{"size":1,"soak":"1s","gates":[{"name":"errors","prometheus":{"server":%q,"query":%q,"max":"0.05","for":"1s"}}]},{"soak":"1s"}],"maxUnavailable":"100%%","progressDeadline":%q}`, server, query, deadline)
	}
	const ample, soon = "300s", "29s"                                                 // a slow machine must not fail devices
	w.update(ns, "web", "web:2", gated("away", "last_over_time(errors[10m])", ample)) // though a scrape be missed
	w.update(ns, "no", "no:2", gated("main", "last_over_time(bad[10m])", soon))
	w.update(ns, "silent", "silent:2", gated("elsewhere", "errors", soon))

	unanswered := func(name string) {
		t.Helper()
		eventually(t, fmt.Sprintf("the gate of %s is not answered", name), func() string {
			if got := w.verdicts(ns, name); !slices.Equal(got, []string{"errors none"}) {
				return fmt.Sprint(got)
			}
			return ""
		})
	}
	unanswered("web")
	eventually(t, "the status says what it waits for", func() string {
		s := w.deployment(ns, "web").Status
		if s.Rollout.Reason != v1alpha1.ReasonAwaitingGate || !strings.Contains(s.Rollout.Message, "Prometheus server away cannot be reached") {
			return fmt.Sprintf("%+v", s.Rollout)
		}
		return ""
	})
	away.Say("errors 0.5\n")
	away.Restart()
	eventually(t, "a Prometheus that is back says no", func() string {
		got := w.verdicts(ns, "web") // it may be back before it has scraped anything
		if got[len(got)-1] != "errors fail 0.5" {
			return fmt.Sprint(got)
		}
		return ""
	})
	for _, name := range names {
		if n := len(w.assignedImages()[name+":2"]); n != 1 {
			t.Errorf("%d devices have the new revision of %s, want the device of the first batch", n, name)
		}
	}
	for name, want := range map[string]struct{ reason, says string }{
		"no":     {v1alpha1.ReasonGateFailed, "its value is 0.5, and has to be at most 0.05"},
		"silent": {v1alpha1.ReasonGateUnanswered, "the operator has no Prometheus server named elsewhere: start it with --prometheus elsewhere=URL"},
	} {
		s := w.phase(ns, name, 2, v1alpha1.RolloutPaused)
		if s.Rollout.Reason != want.reason || !strings.Contains(s.Rollout.Message, want.says) || !meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionStalled) {
			t.Errorf("%s: %+v, conditions %+v; want %s, %q", name, s.Rollout, s.Conditions, want.reason, want.says)
		}
	}
	if got, want := w.answers(ns, "no"), []string{"errors fail 0.5"}; !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	unanswered("silent")
	away.Say("errors 0.01\n")
	w.phase(ns, "web", 2, v1alpha1.RolloutCompleted)
	got := w.answers(ns, "web")
	if want := []string{"errors fail 0.5", "errors pass 0.01"}; !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	said := w.rollouts(ns, "web")
	said = said[slices.Index(said, "gate_measured 1"):]
	if want := []string{"gate_measured 1", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "completed"}; !slices.Equal(slices.Compact(said), want) {
		t.Errorf("events %v, want %v", said, want)
	}
	if n := op.metric(t, "fleet_operator_gate_queries_total"); n < 6 {
		t.Errorf("%v queries were counted", n)
	}
}

// In the time of a gate a leader ends. The next one asks at once and goes on.
func TestAnotherLeaderAsksTheGatesThatAreOpen(t *testing.T) {
	t.Parallel()
	prometheus := prometheustest.Start(t)
	w := newWorld(t)
	named := func(o *operator.Options) {
		o.Prometheus = []operator.PrometheusServer{{Name: "main", URL: prometheus.URL}}
	}
	first := w.operate(pulsed, named)
	w.logged()
	w.simulated(2, func(int) map[string]string { return map[string]string{"site": "lab"} })
	ns := w.api.Namespace(t)
	first.online(t, 2)
	d := deployment(ns, "web", "app:1", map[string]string{"site": "lab"})
	d.Spec.Rollout = shortRollout(t, "{}")
	w.apply(d)
	w.phase(ns, "web", 1, v1alpha1.RolloutCompleted)
	w.update(ns, "web", "app:2", `{"batches":[{"size":1,"soak":"1s","gates":[{"name":"errors","prometheus":{"server":"main","query":"vector(0)","max":"0","for":"10s"}}]},{"soak":"1s"}],"progressDeadline":"300s"}`)
	eventually(t, "the gate is asked", func() string {
		if len(w.verdicts(ns, "web")) == 0 {
			return "no answer"
		}
		return ""
	})
	first.stop()
	begun := time.Now()
	w.operate(pulsed, named, func(o *operator.Options) { o.Identity = "op-2" })
	w.phase(ns, "web", 2, v1alpha1.RolloutCompleted)
	t.Logf("completed %s after the first leader ended", time.Since(begun).Round(time.Second))
}
