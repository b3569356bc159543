package decide_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
)

// traced is a world whose events name their traces.
func traced(t failer) *world {
	w := newWorld(t)
	w.SetTracing(true)
	return w
}

// lab selects the devices of the tests below.
var lab = map[string]string{"site": "lab"}

// inputs notes a change on three devices, and gives what is to be decided about.
func (w *world) inputs(opts ...crOption) []decide.Input {
	return []decide.Input{
		w.label("a", "site", "lab"), w.label("b", "site", "lab"), w.label("c", "site", "lab"),
		w.put(cr("shop", "web", "app:1", lab, opts...)),
	}
}

func traceIDs(t *testing.T, ds []eventlog.Draft) (ids [][16]byte) {
	t.Helper()
	for _, d := range ds {
		if d.Traceparent == "" {
			continue
		}
		c, err := eventlog.ParseTraceContext(d.Traceparent)
		if err != nil || !c.Sampled() {
			t.Fatalf("%s names %q: %v", d.Type, d.Traceparent, err)
		}
		if len(ids) == 0 || ids[len(ids)-1] != c.TraceID {
			ids = append(ids, c.TraceID)
		}
	}
	return ids
}

func TestTracingChangesNothingButTheHeader(t *testing.T) {
	t.Parallel()
	story := func(w *world) []eventlog.Draft {
		w.settle(w.inputs()...)
		for _, id := range []string{"a", "b", "c"} {
			w.report(id, "web", eventlog.PhaseRunning)
		}
		w.settle(decide.OfProgress(key("shop/web")))
		w.settle(w.put(cr("shop", "web", "app:2", lab, generation(2))))
		return w.log
	}
	off, on := story(newWorld(t)), story(traced(t))
	if diff := cmp.Diff(off, on, cmpopts.IgnoreFields(eventlog.Draft{}, "Traceparent")); diff != "" {
		t.Error("(-off +on)\n" + diff)
	}
	if ids := traceIDs(t, off); len(ids) != 0 {
		t.Errorf("without tracing events name %d traces", len(ids))
	}
	if ids := traceIDs(t, on); len(ids) != 2 || ids[0] == ids[1] {
		t.Errorf("two changes have %d traces", len(ids))
	}
}

// A replica that goes on after a crash between any two events names the trace that the one
// before would have named.
func TestAReplicaThatGoesOnNamesTheSameTrace(t *testing.T) {
	t.Parallel()
	named := func(ds []eventlog.Draft) map[string]string {
		m := map[string]string{}
		for _, d := range ds {
			m[string(d.Type)+" "+d.Subject] = d.Traceparent
		}
		return m
	}
	w := traced(t)
	w.settle(w.inputs()...)
	want := named(w.log)
	if len(traceIDs(t, w.log)) != 1 {
		t.Fatalf("the change has %d traces", len(traceIDs(t, w.log)))
	}
	for n := range w.log {
		next := traced(t)
		next.append(w.log[:n]...)
		next.settle(next.inputs()...)
		if diff := cmp.Diff(want, named(next.log)); diff != "" {
			t.Errorf("after %d events (-want +got)\n%s", n, diff)
		}
	}
}

func inTrace(traceparent string) crOption {
	return func(d *v1alpha1.Deployment) {
		d.Annotations = map[string]string{v1alpha1.AnnotationTraceparent: traceparent}
	}
}

func TestWhatAPersonGaveIsTheTraceOfOneChange(t *testing.T) {
	t.Parallel()
	const ci = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	w := traced(t)
	w.settle(w.inputs(inTrace(ci))...)
	x, err := eventlog.ParseTraceContext(ci)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range w.log {
		if c, err := eventlog.ParseTraceContext(d.Traceparent); d.Traceparent != "" && (err != nil || c.TraceID != x.TraceID) {
			t.Errorf("%s names %s", d.Type, d.Traceparent)
		}
	}
	for n := range int64(2) { // a person changes the spec by hand, and the annotation stays
		due := w.settle(w.put(cr("shop", "web", "app:2", map[string]string{"site": string(rune('m' + n))}, generation(2+n), inTrace(ci))))
		if ids := traceIDs(t, due); len(ids) != 1 || ids[0] == x.TraceID {
			t.Errorf("a later change names the traces %x", ids)
		}
	}
	const other = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-"
	if due := w.settle(w.put(cr("shop", "web", "app:3", lab, generation(5), inTrace(other+"ff")))); due[0].Traceparent != other+"01" {
		t.Errorf("the next change that was given a trace names %s", due[0].Traceparent)
	}
}

func TestWhatIsNoTraceparentIsIgnored(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"nothing": "", "words": "my-trace", "zeros": "00-00000000000000000000000000000000-0000000000000000-01"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			with, without := traced(t), traced(t)
			with.settle(with.inputs(inTrace(text))...)
			without.settle(without.inputs()...)
			if diff := cmp.Diff(without.log, with.log); diff != "" {
				t.Error("(-without +with)\n" + diff)
			}
		})
	}
}

// completed is a world in which the change of inputs has completed.
func completed(t failer) *world {
	w := traced(t)
	w.settle(w.inputs()...)
	for _, id := range []string{"a", "b", "c"} {
		w.report(id, "web", eventlog.PhaseRunning)
	}
	w.later = 1
	w.settle(decide.OfProgress(key("shop/web")))
	return w
}

// everywhere selects the devices of inputs, and those of another site.
func everywhere(d *v1alpha1.Deployment) {
	d.Spec.TargetSelector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: metav1.LabelSelectorOpExists}}}
}

// patient gives devices another deadline.
func patient(d *v1alpha1.Deployment) {
	d.Spec.Rollout.ProgressDeadline = &metav1.Duration{Duration: time.Hour}
}

// A device that comes to match after the change was through was not part of it.
func TestAfterAChangeIsThroughNothingNamesItsTrace(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w *world){
		"its run completed":                       func(*world) {},
		"its run completed, then came settings":   func(w *world) { w.settle(w.put(cr("shop", "web", "app:1", lab, generation(2), patient))) },
		"its run completed, then came a selector": func(w *world) { w.settle(w.put(cr("shop", "web", "app:1", lab, generation(2), everywhere))) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := completed(t)
			change(w)
			due := w.settle(w.label("d", "site", "lab"))
			if len(due) < 2 {
				t.Fatalf("the device was given nothing: %v", told(due))
			}
			for _, d := range due {
				if d.Traceparent != "" {
					t.Errorf("%s names %s", d.Type, d.Traceparent)
				}
			}
		})
	}
}

// A new selector begins no run. The devices that it brings belong to its change.
func TestADeviceThatANewSelectorBringsIsOfTheSelectorsChange(t *testing.T) {
	t.Parallel()
	w := completed(t)
	w.settle(w.label("shop-1", "site", "shop"))
	due := w.settle(w.put(cr("shop", "web", "app:1", lab, generation(2), everywhere)))
	if ids := traceIDs(t, due); len(due) != 2 || len(ids) != 1 || ids[0] != eventlog.TraceOfChange("uid-shop-web", 2).TraceID {
		t.Errorf("%v name the traces %x", told(due), ids)
	}
	if due[1].Traceparent == "" {
		t.Errorf("%s names no trace", due[1].Type)
	}
}

// restart asks for a restart of shop/web and gives what follows.
func (w *world) restart() []eventlog.Draft {
	d := w.View().Deployments[key("shop/web")]
	w.tell(eventlog.RequestSubject("ada", "shop", "web"), eventlog.RequestMade, eventlog.Request{
		Verb: eventlog.RequestRestart, Revision: d.Spec.Revision, Run: d.Run.ID, Batch: d.Run.Batch,
	})
	return w.settle(decide.OfDeployment(key("shop/web")))
}

// traceOfRestart is the trace that the restart of a completed world has.
func (w *world) traceOfRestart(request string) eventlog.TraceContext {
	return eventlog.TraceOfRestart("uid-shop-web", request, w.View().Deployments[key("shop/web")].Run.ID)
}

func TestARestartHasATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	w := completed(t)
	want := w.traceOfRestart(fmt.Sprintf("ID-%d", w.seq+1))
	due := w.restart()
	if due[0].Type != eventlog.RolloutStarted || due[0].Traceparent != want.String() {
		t.Errorf("%s names %s, want %s", due[0].Type, due[0].Traceparent, want)
	}
	if ids := traceIDs(t, due); len(ids) != 1 || ids[0] != want.TraceID {
		t.Errorf("%v name the traces %x, want %x alone", told(due), ids, want.TraceID)
	}
	for _, d := range due {
		if d.Traceparent == "" {
			t.Errorf("%s %s names no trace", d.Type, d.Subject)
		}
	}
	begun := w.View().Deployments[key("shop/web")].Trace.Begun.Sequence
	if begun != w.View().Deployments[key("shop/web")].Run.ID {
		t.Errorf("the trace begins at event %d of the log", begun)
	}
}

// What a deletion withdraws belongs to the deletion's trace, which follows from what was deleted: a
// replica that goes on after a crash names the same one.
func TestADeletionHasATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	end := func(w *world) []eventlog.Draft {
		return w.settle(w.put(cr("shop", "web", "app:1", lab, deleting)))
	}
	tests := map[string]func(t failer) *world{
		"once the change is through": completed,
		"while the change goes on": func(t failer) *world {
			w := traced(t)
			w.settle(w.inputs()...)
			return w
		},
	}
	for name, begin := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := begin(t)
			change, want := w.View().Deployments[key("shop/web")].Trace.Context, w.View().Deployments[key("shop/web")].TraceOfDelete()
			before := len(w.log)
			due := end(w)
			if due[0].Type != eventlog.DeploymentDeleted || due[0].Traceparent != want.String() || due[0].Traceparent == change {
				t.Errorf("%s names %s, want %s", due[0].Type, due[0].Traceparent, want)
			}
			if ids := traceIDs(t, due); len(due) != 4 || len(ids) != 1 || ids[0] != want.TraceID {
				t.Errorf("%v name the traces %x", told(due), ids)
			}
			next := traced(t) // it goes on after the deletion, and before the first withdrawal
			next.inputs()
			next.append(w.log[:before+1]...)
			if diff := cmp.Diff(due[1:], end(next), cmpopts.IgnoreFields(eventlog.Draft{}, "Time")); diff != "" {
				t.Error("another replica (-want +got)\n" + diff)
			}
		})
	}
}

// In a rolling upgrade a replica without a collector may begin a run, and one with a
// collector go on: the run has no trace, rather than that of the change before.
func TestARestartWithoutATraceHasNotThatOfTheChangeBefore(t *testing.T) {
	t.Parallel()
	w := completed(t)
	w.SetTracing(false)
	w.restart()
	w.SetTracing(true)
	for _, id := range []string{"a", "b", "c"} {
		w.report(id, "web", eventlog.PhaseRunning)
	}
	from := len(w.log)
	w.settle(decide.OfProgress(key("shop/web")), w.label("d", "site", "lab"))
	if ids := traceIDs(t, w.log[from:]); len(ids) != 0 {
		t.Errorf("%v name the traces %x", told(w.log[from:]), ids)
	}
	want := w.traceOfRestart(fmt.Sprintf("ID-%d", w.seq+1))
	if due := w.restart(); w.View().Deployments[key("shop/web")].Run.Kind == eventlog.RunRestart && due[0].Traceparent != want.String() {
		t.Errorf("the next restart names %q, want %s", due[0].Traceparent, want)
	}
}
