package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/agent/reconcile"
	"fleet.nationtech.io/eventlog"
)

type world struct {
	reconciler *reconcile.Reconciler
	engine     *fake
	source     *source
	reports    *reports
	keeps      *keeps
}

// keep runs a reconciler within the bubble of a test until it ends.
func keep(t *testing.T, e *fake) (w world, stop func()) {
	t.Helper()
	return keepOn(t, e, &keeps{})
}

// keepOn runs a reconciler on what an earlier one left.
func keepOn(t *testing.T, e *fake, left *keeps) (w world, stop func()) {
	t.Helper()
	w, stop = begin(t, e, left)
	<-w.reconciler.Ready()
	return w, stop
}

func begin(t *testing.T, e *fake, left *keeps) (w world, stop func()) {
	t.Helper()
	w = world{
		engine: e, source: &source{changed: make(chan struct{}, 1)},
		reports: &reports{states: map[string]eventlog.DeploymentState{}}, keeps: left,
	}
	k, err := reconcile.New(reconcile.Options{
		Device: "pi-01", Engine: e, Source: w.source, Reports: w.reports,
		Keeps: left, Log: slog.New(slog.DiscardHandler), Clock: time.Now, Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.reconciler = k
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the reconciler ended with %v", err)
		}
	}
	return w, stop
}

func assigned(services ...string) plan.Desired {
	value := `{"data":{"services":[` + strings.Join(services, ",") + `]},"type":"PodmanV0"}`
	return plan.Assigned("hello", 1, []byte(value))
}

func service(name, image string) string { return fmt.Sprintf(`{"image":%q,"name":%q}`, image, name) }

func (w world) phase(t *testing.T, want eventlog.Phase, reason string) {
	t.Helper()
	if s := w.reports.state("hello"); s.Phase != want || s.Reason != reason {
		t.Errorf("phase is %q, reason %q; want %q, %q", s.Phase, s.Reason, want, reason)
	}
}

func TestKilledOrRemovedContainersAreBackWithinFiveSeconds(t *testing.T) {
	for name, hurt := range map[string]func(*fake){
		"killed":  func(f *fake) { f.kill("web") },
		"removed": func(f *fake) { f.drop("web") },
		"paused":  func(f *fake) { f.change("web", func(c *engine.Container) { c.State = engine.StatePaused }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, stop := keep(t, newFake())
				defer stop()
				w.source.set(assigned(service("web", "a")))
				time.Sleep(time.Minute)
				w.phase(t, eventlog.PhaseRunning, "")
				hurt(w.engine)
				time.Sleep(time.Millisecond)
				synctest.Wait()
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if !w.engine.running("web") {
					t.Error("the container does not run 5 s later")
				}
				want := []eventlog.Type{eventlog.AgentStepSucceeded, eventlog.AgentDriftDetected, eventlog.AgentDriftRepaired}
				if diff := cmp.Diff(want, w.reports.types()); diff != "" {
					t.Errorf("journal (-want +got):\n%s", diff)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				w.phase(t, eventlog.PhaseRunning, "")
			})
		})
	}
}

func TestWithoutEventsLookingStillRepairs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "a")))
		time.Sleep(65 * time.Second)
		e.mu.Lock()
		e.notify = nil // events get lost, without an error
		e.mu.Unlock()
		e.kill("web")
		// What else happens does not put off the regular look.
		for range 15 {
			time.Sleep(time.Second)
			w.source.set(assigned(service("web", "a")))
		}
		synctest.Wait()
		if !e.running("web") {
			t.Error("the container does not run 15 s later")
		}
	})
}

// No event told that the container went; its check finds out, and is not made
// again and again on what is not there.
func TestACheckThatFindsNoContainerMakesTheKeeperLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		e.healthy = true
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(`{"healthCheck":{"exec":["/ok"],"interval":"1s"},"image":"a","name":"web"}`))
		time.Sleep(time.Minute)
		synctest.Wait()
		w.phase(t, eventlog.PhaseRunning, "")
		e.mu.Lock()
		e.notify, e.execs = nil, 0
		e.mu.Unlock()
		e.drop("web")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !e.running("web") {
			t.Error("the container does not run 2 s later")
		}
		if e.execs > 5 {
			t.Errorf("%d checks were made in 2 s, one each second is wanted", e.execs)
		}
	})
}

func TestAnotherKeeperRestartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		w, stop := keep(t, e)
		w.source.set(assigned(service("web", "a"), service("db", "b")))
		time.Sleep(time.Minute)
		stop()
		again, stop := keep(t, e)
		defer stop()
		again.source.set(assigned(service("web", "a"), service("db", "b")))
		time.Sleep(time.Minute)
		synctest.Wait()
		again.phase(t, eventlog.PhaseRunning, "")
		if e.made != 2 {
			t.Errorf("%d containers were made, want 2", e.made)
		}
		for id, n := range e.starts {
			if n != 1 {
				t.Errorf("container %s was started %d times", id, n)
			}
		}
	})
}

func TestASlowPullHoldsUpNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		e.pull["slow"] = func() error { return nil }
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "a"), service("slow", "slow")))
		time.Sleep(time.Minute)
		synctest.Wait()
		w.phase(t, eventlog.PhasePending, plan.ReasonCreating)
		e.kill("web")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if !e.running("web") {
			t.Error("web does not run, because of the other service's pull")
		}
		// A corrected score does not wait for it either.
		w.source.set(assigned(service("web", "a"), service("slow", "quick")))
		time.Sleep(time.Minute)
		synctest.Wait()
		w.phase(t, eventlog.PhaseRunning, "")
	})
}

// An engine that is there and never answers is told as what it is, after the
// step's own time.
func TestAStepThatNeverEndsFailsByItsOwnReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		e.pull["slow"] = func() error { return nil }
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "slow")))
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		w.phase(t, eventlog.PhaseFailed, engine.ReasonImagePullFailed)
		if s := w.reports.state("hello"); s.LastError == nil || !strings.Contains(*s.LastError, "pull took longer than 2h") {
			t.Errorf("last error %v does not say how long it took", s.LastError)
		}
	})
}

func TestAnEngineThatHangsIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "a")))
		time.Sleep(time.Minute)
		e.hang(true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		w.phase(t, eventlog.PhaseFailed, engine.ReasonObserveFailed)
		if s := w.reports.state("hello"); s.LastError == nil || !strings.Contains(*s.LastError, "has not listed its containers within 30s") {
			t.Errorf("last error %v does not say what hangs", s.LastError)
		}
		e.hang(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		w.phase(t, eventlog.PhaseRunning, "")
	})
}

// A watchdog asks from the start on, when the first look may take its time.
func TestTheFirstTurnHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		e.hang(true)
		w, stop := begin(t, e, &keeps{})
		defer stop()
		for range 25 {
			if still := time.Since(w.reconciler.LastTick()); still > 30*time.Second {
				t.Fatalf("it seems to stand still since %s", still)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestARowOfTheSameFailuresIsOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		tries := 0
		e.pull["missing"] = func() error {
			tries++
			return &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonImagePullFailed, Err: errors.New("no route to host")}
		}
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "missing")))
		time.Sleep(time.Minute)
		synctest.Wait()
		w.phase(t, eventlog.PhaseFailed, engine.ReasonImagePullFailed)
		if tries < 4 || tries > 7 {
			t.Errorf("%d tries in a minute, want about 6: 1 s, 2 s, 4 s, … apart", tries)
		}
		if diff := cmp.Diff([]eventlog.Type{eventlog.AgentStepFailed}, w.reports.types()); diff != "" {
			t.Errorf("journal (-want +got):\n%s", diff)
		}
		if w.reports.said > 3 {
			t.Errorf("%d states were reported of one lasting failure", w.reports.said)
		}
	})
}

func TestAnEngineThatIsAwayIsReportedAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "a")))
		time.Sleep(time.Minute)
		e.goAway()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		w.phase(t, eventlog.PhaseRunning, "") // a restart of Podman is nobody's failure
		time.Sleep(20 * time.Second)
		synctest.Wait()
		w.phase(t, eventlog.PhaseFailed, engine.ReasonEngineAway)
		e.comeBack()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		w.phase(t, eventlog.PhaseRunning, "")
		if len(w.reports.types()) != 1 {
			t.Errorf("journal %v, want the first step alone: nothing happened to the container", w.reports.types())
		}
	})
}

func TestRunningWaitsForTheCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(`{"healthCheck":{"exec":["/ok"],"interval":"1s","retries":3},"image":"a","name":"web"}`))
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		w.phase(t, eventlog.PhasePending, plan.ReasonStarting)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		w.phase(t, eventlog.PhaseFailed, plan.ReasonUnhealthy)
		if s := w.reports.state("hello"); s.LastError == nil || !strings.Contains(*s.LastError, "/ok ended with 1: not yet") {
			t.Errorf("last error %v does not say what the check said", s.LastError)
		}
		e.mu.Lock()
		e.healthy = true
		e.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		w.phase(t, eventlog.PhaseRunning, "")
	})
}

func TestOnlyAWithdrawalClears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "a")))
		time.Sleep(time.Minute)
		w.source.set() // absence
		time.Sleep(time.Minute)
		synctest.Wait()
		if !e.running("web") || len(w.reports.cleared) > 0 {
			t.Fatal("absence took the Deployment off the device")
		}
		w.source.set(plan.Withdrawn("hello"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(e.containers) != 0 || len(w.reports.cleared) == 0 {
			t.Errorf("withdrawn: %d containers are left, cleared %v", len(e.containers), w.reports.cleared)
		}
	})
}

// The same score may be assigned once more, by another revision's way: the device
// says that it has heard of it, and touches nothing.
func TestAnAssignmentOfTheSameScoreIsReportedOnceAndReplacesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := keep(t, newFake())
		defer stop()
		d := assigned(service("web", "a"))
		d.Assignment = 7
		w.source.set(d)
		time.Sleep(time.Minute)
		synctest.Wait()
		before, steps := w.reports.count(), len(w.reports.types())
		if s := w.reports.state("hello"); s.Assignment != 7 {
			t.Errorf("the report speaks of assignment %d, want 7", s.Assignment)
		}
		d.Assignment, d.Revision = 9, 3
		w.source.set(d)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := w.reports.state("hello"); s.Assignment != 9 || s.Phase != eventlog.PhaseRunning {
			t.Errorf("the report speaks of assignment %d, %s; want 9, Running", s.Assignment, s.Phase)
		}
		if n := w.reports.count() - before; n != 1 {
			t.Errorf("%d reports of the second assignment, want 1", n)
		}
		if n := len(w.reports.types()) - steps; n != 0 {
			t.Errorf("the agent took %d steps, want none", n)
		}
	})
}
