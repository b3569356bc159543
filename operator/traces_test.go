package operator_test

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/devicetest"
	"fleet.nationtech.io/eventlog/reader"
	"fleet.nationtech.io/operator"
	"fleet.nationtech.io/operator/collectortest"
)

// tracing sends the spans of an operator to a collector.
func tracing(c *collectortest.Collector) func(*operator.Options) {
	return func(o *operator.Options) { o.Traces, o.TraceEndpoint = true, c.URL }
}

// traceIDs are the traces that a Deployment's changes name, in order.
func (w *world) traceIDs(ns, name string) (ids []string) {
	w.t.Helper()
	for e, err := range reader.Read(w.t.Context(), w.js, reader.Options{Subjects: []string{eventlog.DeploymentSubject(ns, name)}}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if e.Type != eventlog.DeploymentApplied {
			continue
		}
		x, err := eventlog.ParseTraceContext(e.Traceparent)
		if err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, hex.EncodeToString(x.TraceID[:]))
	}
	return ids
}

// oneTree says what is wrong with the spans of a change that is through on some devices;
// empty: each has a parent, and all of one root.
func oneTree(spans []collectortest.Span, devices int) string {
	byID, roots, given := map[string]bool{}, 0, 0
	for _, s := range spans {
		if byID[s.ID] {
			return "two spans differ and have one id: " + s.Name
		}
		byID[s.ID] = true
	}
	for _, s := range spans {
		switch {
		case s.Parent == "":
			roots++
		case !byID[s.Parent]:
			return fmt.Sprintf("%s %s has no parent", s.Name, s.Attributes["fleet.device"])
		}
		if s.Name == "device" {
			given++
		}
	}
	if roots != 1 || given != devices {
		return fmt.Sprintf("%d roots and %d devices among %d spans", roots, given, len(spans))
	}
	return ""
}

// The leader is replaced in the middle of a change: the next one goes on with the same
// tree.
func TestANewLeaderGoesOnWithTheTraceOfAChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := collectortest.Start(t)
	first := w.operate(tracing(c))
	w.logged()
	devices := w.simulated(4, func(int) map[string]string { return map[string]string{"site": "lab"} })
	first.online(t, 4)
	devices.SetFirst("app:1", 2) // the others are silent
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	eventually(t, "two devices run it", func() string {
		if a := w.deployment(ns, "web").Status.Aggregate; a == nil || a.Succeeded != 2 {
			return fmt.Sprint(a)
		}
		return ""
	})
	first.stop()
	second := w.operate(tracing(c), func(o *operator.Options) { o.Identity = "op-2" })
	eventually(t, "the second leads", func() string {
		if n := second.metric(t, "fleet_operator_leader"); n != 1 {
			return fmt.Sprint(n)
		}
		return ""
	})
	devices.Set("app:1", devicetest.Runs)
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	ids := w.traceIDs(ns, "web")
	if len(ids) != 1 {
		t.Fatalf("the change has the traces %v", ids)
	}
	eventually(t, "the spans are one tree", func() string { return oneTree(c.Trace(ids[0]), 4) })
}

// The leader is replaced in the middle of a restart, which has a trace of its own: the next
// leader derives the same trace from the log, and goes on with the same tree.
func TestANewLeaderGoesOnWithTheTraceOfARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := collectortest.Start(t)
	first := w.operate(tracing(c), pulsed) // a device proves itself by pulses
	w.logged()
	devices := w.simulated(2, func(int) map[string]string { return map[string]string{"site": "lab"} })
	first.online(t, 2)
	s := scenario{world: w, ns: w.api.Namespace(t)}
	d := deployment(s.ns, "web", "app:1", map[string]string{"site": "lab"})
	d.Spec.Rollout = shortRollout(t, `{"batches":[{"size":1,"soak":"1s"},{"soak":"1s"}],"maxUnavailable":"100%","progressDeadline":"300s"}`)
	w.apply(d)
	s.completes("web", 1, 2)
	devices.Set("app:1", devicetest.Silent) // no device answers the restart yet
	s.ask(eventlog.RequestRestart, "web", w.deployment(s.ns, "web").Status.Rollout)
	eventually(t, "the restart has reached a device", func() string {
		if n := len(w.events(eventlog.DesiredSubject(eventlog.Wildcard, "web"))); n < 3 {
			return fmt.Sprint(n)
		}
		return ""
	})
	first.stop()
	second := w.operate(tracing(c), pulsed, func(o *operator.Options) { o.Identity = "op-2" })
	eventually(t, "the second leads", func() string {
		if n := second.metric(t, "fleet_operator_leader"); n != 1 {
			return fmt.Sprint(n)
		}
		return ""
	})
	devices.Set("app:1", devicetest.Runs)
	eventually(t, "the restart is completed", func() string {
		if all := s.newest("web"); all[len(all)-1] != "completed" {
			return fmt.Sprint(all)
		}
		return ""
	})
	change := w.traceIDs(s.ns, "web")[0]
	traces := map[string]int{} // events of the restart, by the trace that they name
	var restart eventlog.Event
	for _, e := range w.events(eventlog.DeploymentSubject(s.ns, "web"), eventlog.DesiredSubject(eventlog.Wildcard, "web")) {
		if r, err := eventlog.Payload[eventlog.Rollout](e); e.Type == eventlog.RolloutStarted && err == nil && r.Kind == eventlog.RunRestart {
			restart = e
		}
		if restart.Sequence > 0 {
			traces[e.TraceID()]++
		}
	}
	id := restart.TraceID()
	if len(traces) != 1 || id == "" || id == change {
		t.Fatalf("the restart's events name the traces %v, and the change before %s", traces, change)
	}
	eventually(t, "the spans of the restart are one tree", func() string { return oneTree(c.Trace(id), 2) })
	for _, span := range c.Trace(id) {
		if span.Parent == "" && span.Name != "run" {
			t.Errorf("the outermost span is %s", span.Name)
		}
	}
	eventually(t, "the spans of the change before are one tree", func() string { return oneTree(c.Trace(change), 2) })
}

// A deletion is told as a trace of its own. Its outermost span is sent once it is known that no
// withdrawal follows: here as the Deployment comes back.
func TestADeletionIsToldAsATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := collectortest.Start(t)
	op := w.operate(tracing(c))
	w.logged()
	w.simulated(2, func(int) map[string]string { return map[string]string{"site": "lab"} })
	op.online(t, 2)
	ns := w.api.Namespace(t)
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	if err := w.fleet.FleetV1alpha1().Deployments(ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	id := ""
	eventually(t, "both devices say that it is gone", func() string {
		cleared := 0
		for _, e := range w.events(eventlog.DeploymentSubject(ns, "web"), eventlog.StateSubject(eventlog.Wildcard, "web")) {
			switch e.Type {
			case eventlog.DeploymentDeleted:
				id = e.TraceID()
			case eventlog.StateCleared:
				cleared++
			}
		}
		if cleared < 2 {
			return fmt.Sprint(cleared)
		}
		return ""
	})
	eventually(t, "the object is gone", func() string {
		if _, err := w.fleet.FleetV1alpha1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{}); err == nil {
			return "it is there"
		}
		return ""
	})
	w.apply(deployment(ns, "web", "app:1", map[string]string{"site": "lab"}))
	eventually(t, "the spans of the deletion are exported", func() string {
		names := map[string]int{}
		for _, span := range c.Trace(id) {
			names[span.Name]++
		}
		if names["delete"] != 1 || names["withdraw"] != 2 || names["report cleared"] != 2 || names["change"] != 0 {
			return fmt.Sprint(names)
		}
		return oneTree(c.Trace(id), 0)
	})
	if ids := w.traceIDs(ns, "web"); len(ids) != 2 || ids[0] == id || ids[1] == id {
		t.Errorf("the changes before and after the deletion %s have the traces %v", id, ids)
	}
}

// Without a collector nothing stalls: changes go out as they do with one, and what could
// not be told is counted.
func TestACollectorThatIsAwayHoldsUpNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := collectortest.Start(t)
	c.Away(true)
	op := w.operate(tracing(c))
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	for n := range 3 {
		name := fmt.Sprintf("web-%d", n)
		w.apply(deployment(ns, name, "app:1", map[string]string{"site": "lab"}))
		w.ready(ns, name, v1alpha1.ReasonAllSucceeded)
	}
	eventually(t, "the collector was asked", func() string {
		if c.Asked() == 0 {
			return "never"
		}
		return ""
	})
	began := time.Now()
	op.stop()                                             // the last spans are tried for a bounded time
	if took := time.Since(began); took > 28*time.Second { // without the bound a batch is tried for 30 s
		t.Errorf("the operator took %v to end", took)
	}
}

// Without tracing no event has a header for it, and nobody is told anything.
func TestWithoutACollectorNoEventNamesATrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.operate()
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	d := deployment(ns, "web", "app:1", map[string]string{"site": "lab"})
	d.Annotations = map[string]string{v1alpha1.AnnotationTraceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	w.apply(d)
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	for e, err := range reader.Read(t.Context(), w.js, reader.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, has := e.Header[eventlog.HeaderTraceparent]; has {
			t.Errorf("%s has a header traceparent", e.Type)
		}
	}
}

// A CI job writes its own trace on the resource: the change is part of it.
func TestAChangeIsPartOfTheTraceOfItsAuthor(t *testing.T) {
	t.Parallel()
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	w := newWorld(t)
	c := collectortest.Start(t)
	w.operate(tracing(c))
	w.logged()
	w.device("pi-01", map[string]string{"site": "lab"})
	ns := w.api.Namespace(t)
	d := deployment(ns, "web", "app:1", map[string]string{"site": "lab"})
	d.Annotations = map[string]string{v1alpha1.AnnotationTraceparent: "00-" + trace + "-" + parent + "-01"}
	w.apply(d)
	w.ready(ns, "web", v1alpha1.ReasonAllSucceeded)
	eventually(t, "the change is told", func() string {
		for _, s := range c.Trace(trace) {
			if s.Name == "change" && s.Parent == parent {
				return ""
			}
		}
		return fmt.Sprint(c.Trace(trace))
	})
	// The annotation stays, and a person changes the spec by hand: that is another change.
	w.setImage(ns, "web", "app:2")
	eventually(t, "the next change has a trace of its own", func() string {
		if ids := w.traceIDs(ns, "web"); len(ids) != 2 || ids[0] != trace || ids[1] == trace {
			return fmt.Sprint(ids)
		}
		return ""
	})
}
