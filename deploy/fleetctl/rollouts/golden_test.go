package rollouts_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/deploy/fleetctl/cli"
	"fleet.nationtech.io/deploy/fleetctl/render"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/operator/resource"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// streams writes into a text, in the time zone of the tests.
func streams(b *strings.Builder, color bool) cli.Streams {
	return cli.Streams{Out: b, Err: b, Name: "fleetctl", Color: color, Now: func() time.Time { return begin }}
}

func (w *world) tree(color bool) string {
	w.t.Helper()
	p, ok := w.catalog().Progress(web, 3)
	if !ok {
		w.t.Fatal("there is no such Deployment")
	}
	sum := 0
	for _, s := range p.Standings {
		sum += s.Count
	}
	if sum != p.Matched {
		w.t.Errorf("the standings sum up to %d, and %d match", sum, p.Matched)
	}
	var b strings.Builder
	render.Rollout(streams(&b, color), p)
	var line strings.Builder
	render.RolloutLine(streams(&line, color), p)
	b.WriteString("\nin a pipe, a line a change:\n" + line.String())
	tree, _, _ := strings.Cut(b.String(), "\nin a pipe")
	for _, line := range strings.Split(tree, "\n") {
		if n := len([]rune(line)); !color && n > render.TextWidth {
			w.t.Errorf("a line has %d columns: %s", n, line)
		}
	}
	return b.String()
}

func TestHowARolloutStandsIsDrawnAsATree(t *testing.T) {
	t.Parallel()
	tests := map[string]func(w *world){
		"first-revision": func(w *world) { w.apply("app:1") },
		"completed": func(w *world) {
			w.apply("app:1")
			w.run()
		},
		"first-batch": func(w *world) {
			w.apply("app:1", sized)
			w.run()
			w.ask("alice", eventlog.RequestPromote, "")
			w.run()
			w.offline("edge-007")
			w.apply("app:2", sized, because("a new menu"))
			w.reportOne(w.given()[0], eventlog.PhaseRunning, "")
			w.after(2 * time.Minute)
		},
		"batch-failed": func(w *world) {
			w.apply("app:1", sized)
			w.run()
			w.ask("alice", eventlog.RequestPromote, "")
			w.run()
			w.apply("app:2", sized)
			w.report(eventlog.PhaseFailed, "ImagePullFailed")
			w.after(2 * time.Minute)
		},
		"awaits-approval": func(w *world) {
			w.apply("app:1", sized)
			w.run()
		},
		"held": func(w *world) {
			w.apply("app:1")
			w.run()
			w.apply("app:2")
			w.ask("alice", eventlog.RequestPause, "shop 17 reports broken tills")
			w.settle()
			w.after(time.Minute)
		},
		"rolled-back": func(w *world) {
			w.apply("app:1")
			w.run()
			w.apply("app:2")
			w.report(eventlog.PhaseFailed, "CrashLoop")
			w.after(2 * time.Minute)
			w.ask("alice", eventlog.RequestUndo, "it crashes")
			w.settle()
			w.run()
		},
		"awaits-window": func(w *world) {
			w.apply("app:1")
			w.run()
			w.apply("app:2", sized, nightly)
			w.after(time.Minute)
		},
		"awaits-rate": func(w *world) {
			w.apply("app:1")
			w.run()
			w.apply("app:2", sized, slowly)
			w.report(eventlog.PhaseRunning, "")
			w.after(time.Second)
		},
		"awaits-gate": func(w *world) {
			w.apply("app:1")
			w.run()
			w.apply("app:2", sized, watched)
			w.report(eventlog.PhaseRunning, "")
			w.after(6 * time.Minute)
			for _, q := range w.state.Questions() {
				due, err := decide.Measured(w.state, decide.Answer{Question: q, Value: 0.2}, w.now)
				if err != nil {
					w.t.Fatal(err)
				}
				w.append(due...)
			}
		},
		"request-open": func(w *world) {
			w.apply("app:1")
			w.ask("alice", eventlog.RequestPause, "look at this")
		},
	}
	for name, tell := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 40)
			tell(w)
			golden(t, "status-"+name, w.tree(false))
		})
	}
}

func TestATreeHasColoursWhereTheTerminalTakesThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40)
	w.apply("app:1")
	w.run()
	golden(t, "status-colours", w.tree(true))
}

func TestAPlanShowsTheBatchesThatTheOperatorFreezes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before   func(w *world)
		manifest *v1alpha1.Deployment
	}{
		"of-a-first-revision":             {func(*world) {}, ptr(manifest("app:1"))},
		"of-a-new-revision":               {func(w *world) { w.apply("app:1"); w.run(); w.offline("edge-003") }, ptr(manifest("app:2", sized))},
		"of-the-same":                     {func(w *world) { w.apply("app:1"); w.run() }, ptr(manifest("app:1"))},
		"of-what-was-refused":             {refuse, ptr(manifest("app:2"))},
		"of-the-next-revision":            {func(w *world) { w.apply("app:1"); w.run() }, nil},
		"of-a-run-on-its-way":             {func(w *world) { w.apply("app:1"); w.run(); w.apply("app:2") }, nil},
		"with-immediate":                  {func(w *world) { w.apply("app:1"); w.run() }, ptr(manifest("app:2", immediate))},
		"with-a-pin-of-nothing":           {func(w *world) { w.apply("app:1"); w.run() }, ptr(manifest("app:2", pinned("none")))},
		"with-a-window-a-rate-and-a-gate": {func(w *world) { w.apply("app:1"); w.run() }, ptr(manifest("app:2", sized, nightly, slowly, watched))},
		"with-canaries":                   {func(w *world) { w.apply("app:1"); w.run() }, ptr(manifest("app:2", pinned("canary")))},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 40)
			test.before(w)
			c := w.catalog()
			var p resource.Plan
			var err error
			if test.manifest != nil {
				p, err = c.PlanManifest(*test.manifest, 3)
			} else {
				p, err = c.PlanNext(web, 3)
			}
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			render.RolloutPlan(streams(&b, false), p)
			golden(t, "plan-"+name, b.String())
			if test.manifest == nil || p.Of == resource.PlanOfNothing {
				return
			}
			// What was planned is what the operator then does.
			o := *test.manifest
			w.apply(o.Spec.Score.Data.Services[0].Image, func(d *v1alpha1.Deployment) { d.Spec.Rollout = o.Spec.Rollout })
			run := &w.view().Deployments[web].Run
			if len(run.Batches) != len(p.Batches) || run.Target.Revision != p.Revision || run.Kind != p.Kind {
				t.Fatalf("the run is %s of revision %d with %d batches; planned: %s of %d with %d", run.Kind, run.Target.Revision, len(run.Batches), p.Kind, p.Revision, len(p.Batches))
			}
			progress, _ := w.catalog().Progress(web, 0)
			for i, b := range progress.Batches {
				if b.Devices != p.Batches[i].Devices {
					t.Errorf("batch %d has %d devices, planned were %d", i+1, b.Devices, p.Batches[i].Devices)
				}
			}
		})
	}
}

// nightly gives a manifest a window that is closed by day.
func nightly(o *v1alpha1.Deployment) {
	o.Spec.Rollout.Windows = []v1alpha1.RolloutWindow{{Schedule: "0 22 * * 1-5", TimeZone: "Europe/Paris", Duration: metav1.Duration{Duration: 6 * time.Hour}}}
}

// slowly gives it a rate of one device a minute.
func slowly(o *v1alpha1.Deployment) {
	o.Spec.Rollout.Rate = &v1alpha1.RolloutRate{Devices: 1, Increase: &v1alpha1.RolloutRateIncrease{AfterSucceeded: 10, Percent: 100}}
}

// watched gives its first batch a gate.
func watched(o *v1alpha1.Deployment) {
	o.Spec.Rollout.Batches[0].Gates = []v1alpha1.RolloutGate{{Name: "errors", Prometheus: v1alpha1.PrometheusGate{Server: "main", Query: "errors", Max: "0.05"}}}
}

func TestAPlanSaysWhichLabelsAreMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40)
	w.apply("app:1")
	w.run()
	p, err := w.catalog().PlanManifest(manifest("app:$(device.labels.ring)"), 3)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	render.RolloutPlan(streams(&b, false), p)
	golden(t, "plan-with-missing-labels", b.String())
}

func ptr[T any](v T) *T { return &v }

func immediate(o *v1alpha1.Deployment) { o.Spec.Rollout.Strategy = v1alpha1.RolloutImmediate }

func TestHistoryShowsRevisionsWithTheirRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40)
	refuse(w)
	w.ask("alice", eventlog.RequestRestart, "")
	w.settle()
	w.run()
	w.apply("app:3", because("the fix"))
	c := w.catalog()
	rs, err := resource.RevisionsOf(c.View, web, func(yield func(eventlog.Event, error) bool) {
		for _, e := range w.log {
			if e.Address.Family == eventlog.FamilyDeployment && !yield(e, eventlog.Check(e)) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	render.RolloutRevisions(streams(&b, false), rs)
	golden(t, "history", b.String())
	if !rs.Of(2) || len(rs.Revisions) != 1 || string(rs.Revisions[0].Score) == "" || rs.Of(9) {
		t.Errorf("revision 2 alone: %+v", rs.Revisions)
	}
}

// refuse tells of a revision that fails and is undone.
func refuse(w *world) {
	w.apply("app:1")
	w.run()
	w.apply("app:2", because("bigger icons"))
	w.report(eventlog.PhaseFailed, "CrashLoop")
	w.after(2 * time.Minute)
	w.ask("alice", eventlog.RequestUndo, "it crashes")
	w.settle()
	w.run()
}

func pinned(ring string) func(*v1alpha1.Deployment) {
	return func(o *v1alpha1.Deployment) {
		o.Spec.Rollout.Batches = []v1alpha1.RolloutBatch{{Selector: selector("ring", ring)}, {}}
	}
}

// What a person is told to do names a verb that there is.
func TestEachPauseSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{
		v1alpha1.ReasonBatchFailed, v1alpha1.ReasonNothingProven, v1alpha1.ReasonBudgetExhausted, v1alpha1.ReasonOfflineDevices,
		v1alpha1.ReasonRollbackFailed, v1alpha1.ReasonNothingToRollBackTo, v1alpha1.ReasonPinMatchesNothing, v1alpha1.ReasonLogRestored,
	} {
		if resource.PausedTodo(reason) == resource.PausedTodo("") {
			t.Errorf("pause reason %s has nothing of its own to do", reason)
		}
	}
}

// TestMain has texts tell the time as in no other place than here.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}
