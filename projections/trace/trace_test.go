package trace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/storytest"
	"fleet.nationtech.io/projections/trace"
)

var web = storytest.Key("shop", "web")

// all gives the spans of a log: those that ended, and those that go on.
func all(o trace.Options, events []eventlog.Event) []trace.Span {
	f := trace.New(o)
	var spans []trace.Span
	for _, e := range events {
		spans = append(spans, f.Apply(e)...)
	}
	return append(spans, f.Open()...)
}

// tree draws spans as an indented list, the children in the order in which they began.
func tree(spans []trace.Span) string {
	var b strings.Builder
	var draw func(parent [8]byte, depth int)
	draw = func(parent [8]byte, depth int) {
		var those []trace.Span
		for _, s := range spans {
			if s.Parent == parent {
				those = append(those, s)
			}
		}
		slices.SortStableFunc(those, func(a, b trace.Span) int { return a.Begin.Compare(b.Begin) })
		for _, s := range those {
			_, _ = fmt.Fprintf(&b, "%s%s %s%s %v %s%s\n", strings.Repeat("  ", depth), s.Kind, s.Name, " "+s.Device, s.Took(), s.Outcome, strings.TrimSuffix(" "+s.Reason, " "))
			draw(s.ID, depth+1)
		}
	}
	draw([8]byte{}, 0)
	return b.String()
}

// rollout is the story of a change in two batches, in which the second device fails.
func rollout(t testing.TB) *storytest.Story {
	w := storytest.New(t)
	w.Device("pi-01", map[string]string{"site": "lab", "zone": "a"})
	w.Device("pi-02", map[string]string{"site": "lab"})
	applied := w.Apply(web, 1, storytest.Podman("app:1"), storytest.Batched)
	w.Start(web, 1, 2)
	first := w.Give("pi-01", web, 1, 1, applied)
	w.Step("pi-01", web, eventlog.AgentStepSucceeded, eventlog.Step{Step: "pull+create+start", Duration: 0.6, Seconds: []float64{0.4, 0.1, 0.1}, Revision: 1, At: w.Now()})
	w.Wait(2 * time.Second)
	w.State("pi-01", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Revision: 1, Assignment: first})
	w.Run(web, eventlog.RolloutBatchSucceeded, eventlog.Rollout{Revision: 1, Batch: 1})
	w.Run(web, eventlog.RolloutBatchStarted, eventlog.Rollout{Revision: 1, Batch: 2})
	second := w.Give("pi-02", web, 1, 2, applied)
	w.Step("pi-02", web, eventlog.AgentStepFailed, eventlog.Step{Step: "pull", Duration: 0.5, Reason: "ImagePullFailed", Error: "no such image", Revision: 1, At: w.Now()})
	w.State("pi-02", web, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: "ImagePullFailed", Revision: 1, Assignment: second})
	w.Run(web, eventlog.RolloutBatchFailed, eventlog.Rollout{Revision: 1, Batch: 2, Reason: "Pause"})
	w.Run(web, eventlog.RolloutAborted, eventlog.Rollout{Revision: 1, Reason: "Requested"})
	return w
}

func TestAChangeIsOneTreeOfSpans(t *testing.T) {
	t.Parallel()
	want := `change change  13s aborted Requested
  batch batch  6s succeeded
    device device pi-01 4s succeeded
      step pull+create+start pi-01 600ms succeeded
        step pull pi-01 400ms succeeded
        step create pi-01 100ms succeeded
        step start pi-01 100ms succeeded
      ready ready pi-01 3s succeeded
      report report running pi-01 0s succeeded
  batch batch  4s failed Pause
    device device pi-02 3s failed ImagePullFailed
      step pull pi-02 500ms failed ImagePullFailed
      report report failed pi-02 0s failed ImagePullFailed
`
	if diff := cmp.Diff(want, tree(all(trace.Options{Untraced: true}, rollout(t).Events))); diff != "" {
		t.Error("spans (-want +got)\n" + diff)
	}
}

// Spans of devices beyond the limit are left out, but for what went wrong.
func TestADeviceThatFailsIsToldBeyondTheLimit(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	applied := w.Apply(web, 1, storytest.Podman("app:1"))
	w.Rollout(web, eventlog.RolloutStarted, 1, 3)
	var given []uint64
	for _, d := range []string{"a", "b", "c"} {
		given = append(given, w.Assign(d, web, 1, applied))
	}
	w.State("a", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Assignment: given[0]})
	w.State("b", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Assignment: given[1]})
	w.State("c", web, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: "CrashLoop", Assignment: given[2]})
	w.Rollout(web, eventlog.RolloutAborted, 1, 3)
	var told []string
	for _, s := range all(trace.Options{Untraced: true, Devices: 1}, w.Events) {
		if s.Kind == trace.KindDevice {
			told = append(told, s.Device+" "+string(s.Outcome))
		}
	}
	if diff := cmp.Diff([]string{"a succeeded", "c failed"}, told); diff != "" {
		t.Error("devices (-want +got)\n" + diff)
	}
}

func TestAWrongClockOfADeviceIsPutRight(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]time.Duration{"two years behind": -2 * 365 * 24 * time.Hour, "an hour ahead": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := storytest.New(t)
			applied := w.Apply(web, 1, storytest.Podman("app:1"))
			w.Rollout(web, eventlog.RolloutStarted, 1, 1)
			given := w.Assign("pi-01", web, 1, applied)
			w.Step("pi-01", web, eventlog.AgentStepSucceeded, eventlog.Step{Step: "start", Duration: 0.3, Revision: 1, At: w.Now().Add(wrong)})
			w.State("pi-01", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Assignment: given, LastEventAt: w.Now().Add(wrong)})
			for _, s := range all(trace.Options{Untraced: true}, w.Events) {
				if s.Kind == trace.KindStep && (!s.Adjusted || s.Took() != 300*time.Millisecond) {
					t.Errorf("the step took %v, adjusted %v", s.Took(), s.Adjusted)
				}
			}
		})
	}
}

// What belongs to no change, or to one that is through, is in no span.
func TestWhatHappensAfterAChangeIsNotPartOfIt(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	applied := w.Apply(web, 1, storytest.Podman("app:1"))
	w.Rollout(web, eventlog.RolloutStarted, 1, 1)
	given := w.Assign("pi-01", web, 1, applied)
	w.State("pi-01", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Assignment: given})
	w.Rollout(web, eventlog.RolloutCompleted, 1, 1)
	before := len(all(trace.Options{Untraced: true}, w.Events))
	w.Wait(time.Hour)
	w.Assign("pi-02", web, 1, applied)
	w.State("pi-01", web, eventlog.DeploymentState{Phase: eventlog.PhaseFailed, Reason: "CrashLoop", Assignment: given})
	w.Step("pi-01", web, eventlog.AgentStepSucceeded, eventlog.Step{Step: "start", Revision: 1, At: w.Now()})
	if after := len(all(trace.Options{Untraced: true}, w.Events)); after != before {
		t.Errorf("%d spans, and %d before", after, before)
	}
}

// traced writes into events what an operator with tracing writes.
func traced(events []eventlog.Event) []eventlog.Event {
	v := fleet.New()
	var out []eventlog.Event
	for _, e := range events {
		switch e.Address.Family {
		case eventlog.FamilyDeployment:
			key := fleet.Key{Namespace: e.Address.Namespace, Name: e.Address.Name}
			if now := v.Deployments[key]; now != nil && e.Type != eventlog.DeploymentApplied {
				switch {
				case e.Type == eventlog.DeploymentDeleted:
					e.Traceparent = now.TraceOfDelete().String()
				case !now.Through():
					e.Traceparent = now.Trace.Context
				case e.Type == eventlog.RolloutStarted:
					e.Traceparent = eventlog.TraceOfRestart(now.Spec.UID, e.CausationID, now.Run.ID).String()
				}
			}
			if e.Type == eventlog.DeploymentApplied {
				d, err := eventlog.Payload[eventlog.Deployment](e)
				if err != nil {
					panic(err)
				}
				e.Traceparent = eventlog.TraceOfChange(d.UID, d.Generation).String()
			}
		case eventlog.FamilyDesired:
			d := v.Deployments[fleet.Key{Namespace: e.Namespace, Name: e.Address.Deployment}]
			if root, ok := d.TraceRoot(); ok && d.OfChange(v.Devices[e.Address.Device]) {
				e.Traceparent = root.OfAssignment(e.Subject, e.Type, e.Revision, e.Batch, eventlog.Hash(e.Data)).String()
			}
		}
		fleet.Apply(v, e, nil)
		out = append(out, e)
	}
	return out
}

// again lets the story of a completed change go on: its selector changes, and then it is
// restarted.
func again(t testing.TB) *storytest.Story {
	w := storytest.New(t)
	w.Device("pi-01", map[string]string{"site": "lab"})
	w.Device("pi-02", map[string]string{"site": "shop"})
	applied := w.Apply(web, 1, storytest.Podman("app:1"), storytest.Batched)
	w.Start(web, 1, 1)
	given := w.Give("pi-01", web, 1, 1, applied)
	w.State("pi-01", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Revision: 1, Assignment: given})
	w.Run(web, eventlog.RolloutBatchSucceeded, eventlog.Rollout{Revision: 1, Batch: 1})
	w.Run(web, eventlog.RolloutCompleted, eventlog.Rollout{Revision: 1})
	w.Wait(time.Hour)
	applied = w.Apply(web, 1, storytest.Podman("app:1"), storytest.Batched, func(d *eventlog.Deployment) { d.Generation, d.Selector = 2, eventlog.Selector{} })
	given = w.Give("pi-02", web, 1, 0, applied)
	w.State("pi-02", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Revision: 1, Assignment: given})
	w.Wait(time.Hour)
	asked := w.Ask("ada", web, eventlog.Request{Verb: eventlog.RequestRestart})
	w.Run(web, eventlog.RolloutStarted, eventlog.Rollout{
		Revision: 1, ScoreHash: eventlog.Hash(w.Score[web]), Kind: eventlog.RunRestart, Strategy: "Batched", Devices: 2, Restart: 1,
	}, storytest.CausedBy(asked))
	given = w.Give("pi-01", web, 1, 1, applied)
	w.State("pi-01", web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Revision: 1, Assignment: given})
	w.Run(web, eventlog.RolloutCompleted, eventlog.Rollout{Revision: 1})
	return w
}

// A change that begins no run ends with its last assignment, and a restart is a change of
// its own.
func TestAChangeWithoutARunEndsWithItsLastAssignment(t *testing.T) {
	t.Parallel()
	want := `change change  5s succeeded
  batch batch  3s succeeded
    device device pi-01 1s succeeded
      report report running pi-01 0s succeeded
change change  2s succeeded
  device device pi-02 1s succeeded
    report report running pi-02 0s succeeded
change run  3s succeeded
  batch batch  3s succeeded
    device device pi-01 1s succeeded
      report report running pi-01 0s succeeded
`
	events := again(t).Events
	if diff := cmp.Diff(want, tree(all(trace.Options{}, traced(events)))); diff != "" {
		t.Error("spans (-want +got)\n" + diff)
	}
	until := slices.IndexFunc(events, func(e eventlog.Event) bool { return e.Type == eventlog.RequestMade })
	open := trace.New(trace.Options{})
	for _, e := range traced(events)[:until] {
		open.Apply(e)
	}
	if spans := open.Open(); len(spans) != 1 || spans[0].Outcome != trace.Succeeded {
		t.Errorf("at the end of the log the change is\n%s", tree(spans))
	}
}

// The fold that a new leader begins in the middle of the log knows from the view that a
// spec begins no run.
func TestAFoldThatBeginsLaterEndsAChangeWithoutARun(t *testing.T) {
	t.Parallel()
	events := traced(again(t).Events)
	from := slices.IndexFunc(events, func(e eventlog.Event) bool { return e.Type == eventlog.RolloutCompleted }) + 1
	want := []string{"change succeeded", "run succeeded"}
	for begin := from - 1; begin <= from; begin++ {
		known := fleet.New()
		for _, e := range events[:begin+2] {
			fleet.Apply(known, e, nil)
		}
		f := trace.New(trace.Options{})
		f.Continue(known, events[begin].Sequence)
		var got []string
		for _, e := range events[begin:] {
			for _, s := range f.Apply(e) {
				if s.Kind == trace.KindChange {
					got = append(got, s.Name+" "+string(s.Outcome))
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("from event %d (-want +got)\n%s", begin, diff)
		}
	}
}

// deleted lets the story of a completed change end with its deletion: one device says that it has
// nothing left, and the other one does so an hour later.
func deleted(t testing.TB) *storytest.Story {
	w := storytest.New(t)
	applied := w.Apply(web, 1, storytest.Podman("app:1"), storytest.Batched)
	w.Start(web, 1, 1)
	for _, device := range []string{"pi-01", "pi-02"} {
		given := w.Give(device, web, 1, 1, applied)
		w.State(device, web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Revision: 1, Assignment: given})
	}
	w.Run(web, eventlog.RolloutCompleted, eventlog.Rollout{Revision: 1})
	w.Wait(time.Hour)
	ended := w.End(web, eventlog.DeploymentDeleted, "CRDeleted")
	w.Withdraw("pi-01", web, ended)
	w.Withdraw("pi-02", web, ended)
	w.Cleared("pi-01", web)
	w.Wait(time.Hour)
	w.Cleared("pi-02", web)
	return w
}

// A deletion is a trace of its own, which goes on until no device reports the Deployment any more.
func TestADeletionIsATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	want := `change change  6s succeeded
  batch batch  5s succeeded
    device device pi-01 1s succeeded
      report report running pi-01 0s succeeded
    device device pi-02 1s succeeded
      report report running pi-02 0s succeeded
change delete  1h0m4s succeeded
  device withdraw pi-01 2s succeeded
    report report cleared pi-01 0s succeeded
  device withdraw pi-02 1h0m2s succeeded
    report report cleared pi-02 0s succeeded
`
	for name, o := range map[string]trace.Options{"its events name it": {}, "no event names a trace": {Untraced: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events := deleted(t).Events
			if !o.Untraced {
				events = traced(events)
			}
			if diff := cmp.Diff(want, tree(all(o, events))); diff != "" {
				t.Error("spans (-want +got)\n" + diff)
			}
		})
	}
}

// An assignment that is through makes room for others, also while its change goes on.
func TestAssignmentsThatAreThroughAreForgottenWhileTheChangeGoesOn(t *testing.T) {
	t.Parallel()
	w := storytest.New(t)
	applied := w.Apply(web, 1, storytest.Podman("app:1"))
	w.Rollout(web, eventlog.RolloutStarted, 1, 1)
	for n := range 300 {
		device := fmt.Sprintf("pi-%03d", n)
		given := w.Give(device, web, 1, 1, applied)
		w.State(device, web, eventlog.DeploymentState{Phase: eventlog.PhaseRunning, Assignment: given})
	}
	f := trace.New(trace.Options{Untraced: true})
	for _, e := range w.Events {
		f.Apply(e)
		if n := f.Followed(); n > 100 {
			t.Fatalf("%d assignments are followed", n)
		}
	}
}

// The log alone gives the trace that was recorded, whether its events name it or not.
func TestATraceIsDerivedAlikeWithAndWithoutHeaders(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(testing.TB) *storytest.Story{"an update": rollout, "a new selector, and a restart": again, "a deletion": deleted} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			derivedAlike(t, tell(t))
		})
	}
}

func derivedAlike(t *testing.T, w *storytest.Story) {
	t.Helper()
	without := all(trace.Options{Untraced: true}, w.Events)
	with := all(trace.Options{}, traced(w.Events))
	if diff := cmp.Diff(without, with); diff != "" {
		t.Error("spans (-without +with)\n" + diff)
	}
	if n := len(all(trace.Options{}, w.Events)); n != 0 {
		t.Errorf("%d spans of changes that are not traced", n)
	}
}

func TestAChangeBelongsToTheTraceThatAPersonGave(t *testing.T) {
	t.Parallel()
	const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	parent, err := eventlog.ParseTraceContext(given)
	if err != nil {
		t.Fatal(err)
	}
	w := rollout(t)
	for i, e := range w.Events {
		if e.Type == eventlog.DeploymentApplied {
			w.Events[i].Traceparent = given
		}
	}
	spans := all(trace.Options{}, w.Events)
	if len(spans) == 0 {
		t.Fatal("no spans")
	}
	for _, s := range spans {
		if s.TraceID != parent.TraceID {
			t.Errorf("span %s is of trace %x", s.Name, s.TraceID)
		}
		if s.Kind == trace.KindChange && s.Parent != parent.SpanID {
			t.Errorf("the parent of the change is %x", s.Parent)
		}
	}
}
