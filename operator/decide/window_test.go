package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/rollout"
)

// A window that closes in the middle of a rollout: what was given is judged, and the rest
// waits for the next one, though longer than any deadline.
func TestAWindowThatClosesInTheMiddleOfARollout(t *testing.T) {
	t.Parallel()
	s := newShow(t, 5) // at 14:03
	s.apply("app:1", "{}")
	s.pass(time.Minute)
	from := len(s.log)
	s.nature["app:2"] = eventlog.PhaseRunning
	s.apply("app:2", `{"batches": [{"size": 1, "soak": "15m"}, {"soak": "1m"}], "maxUnavailable": "100%", "progressDeadline": "10m",
		"windows": [{"schedule": "30 * * * *", "timeZone": "Asia/Kathmandu", "duration": "10m"}]}`) // there it is 19:49, so they open at a quarter
	web := key("a/web")
	says := func(minutes int, given int, waits rollout.WaitKind, sentence string, told ...string) {
		t.Helper()
		if at := time.Duration(minutes) * time.Minute; at > s.clock {
			s.pass(at - s.clock)
		}
		if got := s.given("app:2"); got != given {
			t.Errorf("after %d minutes %d devices were given the new revision, want %d", minutes, got, given)
		}
		w := rollout.Look(s.View(), s.View().Deployments[web], now.Add(s.clock)).OpenBatch()
		if w.Kind != waits || !strings.Contains(w.Message, sentence) {
			t.Errorf("after %d minutes it waits for %+v, want %s %q", minutes, w, waits, sentence)
		}
		if p := s.Progress(web); p.Shut && !p.Opens.After(now.Add(s.clock)) {
			t.Errorf("after %d minutes it waits until %s", minutes, p.Opens)
		}
		if diff := cmp.Diff(told, s.rollouts(from)); diff != "" {
			t.Errorf("after %d minutes (-want +got):\n%s", minutes, diff)
		}
	}
	says(1, 0, rollout.WaitWindow, "1 device of batch 1 is given revision 2 when the next window of spec.rollout.windows opens, at 2026-11-24T14:45:00Z, in 41m0s", "started Applied")
	says(41, 0, rollout.WaitWindow, "opens", "started Applied")
	says(43, 1, rollout.WaitSoak, "batch 1", "started Applied") // 14:46
	says(60, 1, rollout.WaitWindow, "batch 1 is through, and batch 2 begins when", "started Applied", "batch_succeeded 1")
	says(101, 1, rollout.WaitWindow, "15:45", "started Applied", "batch_succeeded 1")
	says(103, 5, rollout.WaitSoak, "batch 2", "started Applied", "batch_succeeded 1", "batch_started 2")
	says(106, 5, rollout.WaitNothing, "", "started Applied", "batch_succeeded 1", "batch_started 2", "batch_succeeded 2", "completed")
}

// What mends a device does not wait for a window, and neither does a rollback.
func TestWhatMendsDoesNotWaitForAWindow(t *testing.T) {
	t.Parallel()
	s := newShow(t, 4)
	s.apply("app:1", "{}")
	s.pass(time.Minute)
	s.nature["app:2"], s.nature["app:3"] = eventlog.PhaseFailed, eventlog.PhaseRunning
	settings := `{"batches": [{"size": 2, "soak": "1m"}, {}], "maxUnavailable": 4, "windows": [{"schedule": "0 14 * * *", "duration": "10m"}]}` // until 14:10
	s.apply("app:2", settings)
	s.pass(30 * time.Second)
	if p := s.Progress(key("a/web")); p.Failing != 2 || p.Open != 2 || p.Batch.Bad != 0 {
		t.Errorf("within a minute %d of %d devices fail, and %d are bad", p.Failing, p.Open, p.Batch.Bad)
	}
	s.pass(time.Minute)
	if s.given("app:2") != 2 || s.run().Phase != "Paused" {
		t.Fatalf("%d devices were given a broken revision, and the run is %s", s.given("app:2"), s.run().Phase)
	}
	s.pass(10 * time.Minute)
	s.apply("app:3", settings)
	s.pass(time.Minute)
	if got := s.given("app:3"); got != 2 {
		t.Errorf("outside of the window %d devices were given what mends them, want the 2 broken ones", got)
	}
}

// A window that nobody can read is refused with what to write.
func TestWindowsThatNeverOpenAreAProblem(t *testing.T) {
	t.Parallel()
	spec := decide.SpecOf(cr("a", "web", "app:1", site, withRollout(`{"windows": [{"schedule": "0 2 30 2 *", "duration": "1h"}]}`)))
	if spec.Problem == nil || spec.Problem.Reason != v1alpha1.ReasonInvalidRollout || !strings.Contains(spec.Problem.Message, "spec.rollout.windows[0]: schedule") {
		t.Errorf("%+v", spec.Problem)
	}
}

// A canary that is off the network for a moment while its batch waits for a window pauses
// nothing, neither then nor when the window opens: it could not have proven anything yet.
func TestACanaryThatIsOfflineWhileItsBatchWaitsForAWindow(t *testing.T) {
	t.Parallel()
	s := newShow(t, 2) // at 14:03
	s.apply("app:1", "{}")
	s.pass(time.Minute)
	s.nature["app:2"] = eventlog.PhaseRunning
	s.apply("app:2", `{"batches": [{"size": 1, "soak": "1m"}, {"soak": "1m"}], "windows": [{"schedule": "0 22 * * *", "duration": "2h"}]}`)
	says := func(after time.Duration, phase, reason string) {
		t.Helper()
		s.pass(after - s.clock)
		if run := s.run(); string(run.Phase) != phase || run.Reason != reason {
			t.Fatalf("after %s it is %s %s (%s), want %s %s", after, run.Phase, run.Reason, run.Message, phase, reason)
		}
	}
	says(time.Hour, "Progressing", "Applied")
	for _, id := range s.ids {
		s.offline(id)
	}
	says(time.Hour+time.Minute, "Progressing", "Applied")
	says(7*time.Hour+58*time.Minute, "Progressing", "Applied") // 22:01
	says(8*time.Hour+6*time.Minute, "Progressing", "Applied")
	says(8*time.Hour+8*time.Minute, "Paused", "NothingProven") // a whole deadline within the window
}

// A report costs the same whether a Deployment has windows or none: they are read once a
// spec.
func TestAReportReadsNoWindows(t *testing.T) {
	costs := func(settings string) float64 {
		s := newShow(t, 4)
		s.apply("app:1", settings)
		s.pass(time.Minute)
		n := 0
		return testing.AllocsPerRun(100, func() {
			n++
			s.report(s.ids[0], "web", []eventlog.Phase{eventlog.PhaseRunning, eventlog.PhasePending}[n%2])
			s.Progress(key("a/web"))
		})
	}
	w := `{"schedule": "0 22 * * 1-5", "timeZone": "Europe/Paris", "duration": "6h"}`
	without, with := costs("{}"), costs(`{"windows": [`+strings.Repeat(w+",", 15)+w+`]}`)
	if with > without+5 {
		t.Errorf("a report allocates %.0f times with 16 windows, and %.0f times with none", with, without)
	}
}

// Devices that leave and devices that wait for a window may wait for one DisruptionBudget:
// once that has room, the first go, whatever the time is.
func TestAClosedWindowKeepsNoDeviceFromLeaving(t *testing.T) {
	t.Parallel()
	s := newShow(t, 3)
	s.SetBudget(decide.BudgetSpec{Name: "one", Selector: labels.Everything(), Recorded: eventlog.Budget{MaxUnavailable: &eventlog.Amount{N: 1}}})
	s.apply("app:1", "{}")
	s.pass(time.Minute)
	s.nature["app:2"] = eventlog.PhaseRunning
	s.offline("pi-000") // all that the budget allows
	s.apply("app:2", `{"batches": [{}], "maxUnavailable": "100%", "windows": [{"schedule": "0 14 * * *", "duration": "10m"}]}`)
	s.pass(time.Minute)
	s.pass(10 * time.Minute) // closed
	s.settle(s.label("pi-002", "site", "elsewhere"))
	s.pass(time.Second)
	if p := s.View().Devices["pi-002"].Pair("web"); !p.Assigned() || s.given("app:2") > 0 {
		t.Fatalf("the budget is used up, and it did not hold")
	}
	s.online("pi-000")
	s.pass(time.Second)
	if p := s.View().Devices["pi-002"].Pair("web"); p != nil && p.Assigned() {
		t.Errorf("a device that no longer matches waits for a window")
	}
	if got := s.given("app:2"); got > 0 {
		t.Errorf("in closed hours %d devices were given the new revision", got)
	}
}
