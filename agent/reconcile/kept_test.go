package reconcile_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
)

// images are what an update may wait for.
var images = map[string]func() error{
	"slow": func() error { return nil },
	"unreachable": func() error {
		return &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonImagePullFailed, Err: errors.New("no route to host")}
	},
	"misspelt": func() error {
		return &engine.Error{Class: engine.ClassRetrySlowly, Reason: engine.ReasonImageNotFound, Err: errors.New("manifest unknown")}
	},
}

// image is the image of the container that runs for a service, empty where none does.
func (f *fake) image(service string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, c := range f.containers {
		if c.Service == service && c.State == engine.StateRunning {
			return f.images[id]
		}
	}
	return ""
}

func TestWhileAnUpdateWaitsForItsImageThePresentRevisionIsRepaired(t *testing.T) {
	for image, pull := range images {
		for name, hurt := range map[string]func(*fake){
			"killed":  func(f *fake) { f.kill("web") },
			"removed": func(f *fake) { f.drop("web") },
			"paused":  func(f *fake) { f.change("web", func(c *engine.Container) { c.State = engine.StatePaused }) },
			"crashed": func(f *fake) {
				f.change("web", func(c *engine.Container) {
					c.State, c.ExitCode, c.FinishedAt = engine.StateExited, 1, time.Now()
				})
			},
		} {
			t.Run(image+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newFake()
					e.healthy = true
					e.pull[image] = pull
					w, stop := keep(t, e)
					defer stop()
					check := `"healthCheck":{"exec":["/ok"],"interval":"1s"}`
					w.source.set(assigned(`{` + check + `,"image":"a","name":"web"}`))
					time.Sleep(time.Minute)
					update := plan.Assigned("hello", 2, []byte(`{"data":{"services":[`+service("web", image)+`]},"type":"PodmanV0"}`))
					w.source.set(update)
					time.Sleep(time.Minute)
					hurt(e)
					time.Sleep(5 * time.Second)
					synctest.Wait()
					if got := e.image("web"); got != "a" {
						t.Errorf("5 s later %q runs, want a", got)
					}
					time.Sleep(time.Minute)
					synctest.Wait()
					s := w.reports.state("hello")
					if s.ScoreHash != update.ScoreHash || s.Revision != 2 || s.Phase == eventlog.PhaseRunning {
						t.Errorf("the report says %s of revision %d, want that revision 2 waits", s.Phase, s.Revision)
					}
					if len(s.Services) != 1 || s.Services[0].State != "running" || s.Services[0].Revision != 1 || s.Services[0].Health != plan.HealthHealthy {
						t.Errorf("the report says %+v of what runs, want revision 1, running and healthy", s.Services)
					}
					if image != "slow" && (s.LastError == nil || !strings.Contains(*s.LastError, "revision 1 is kept until its update can take its place")) {
						t.Errorf("last error %v does not say what goes on", s.LastError)
					}
					if image == "slow" {
						return
					}
					// The image comes.
					e.mu.Lock()
					delete(e.pull, image)
					e.mu.Unlock()
					time.Sleep(30 * time.Minute)
					synctest.Wait()
					w.phase(t, eventlog.PhaseRunning, "")
					if got := e.image("web"); got != image {
						t.Errorf("%q runs after the image came, want %s", got, image)
					}
				})
			})
		}
	}
}

// The device loses power and has no network when it is back: what it ran ended,
// and the agent knows nothing but what is written down.
func TestARebootBringsBackTheRevisionWhoseUpdateWaits(t *testing.T) {
	for name, then := range map[string]func(*fake){
		"its container is there": func(f *fake) { f.kill("web") },
		"its container is lost":  func(f *fake) { f.drop("web") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake()
				e.pull["unreachable"] = images["unreachable"]
				w, stop := keep(t, e)
				w.source.set(assigned(service("web", "a")))
				time.Sleep(time.Minute)
				w.source.set(assigned(service("web", "unreachable")))
				time.Sleep(time.Minute)
				stop()
				then(e)
				again, stop := keepOn(t, e, w.keeps)
				defer stop()
				again.source.set(assigned(service("web", "unreachable")))
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if got := e.image("web"); got != "a" {
					t.Errorf("10 s later %q runs, want a", got)
				}
			})
		})
	}
}

// Its bind mount's folder is not there, say: the update can't be made a container
// of, which shows only once the one before is out of its place.
func TestWhereNoContainerCanBeMadeOfAnUpdateThePresentRevisionIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "a")))
		time.Sleep(time.Minute)
		e.mu.Lock()
		e.create["b"] = &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonCreateFailed, Err: errors.New("no such file or directory")}
		e.mu.Unlock()
		w.source.set(assigned(service("web", "b")))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := e.image("web"); got != "a" {
			t.Errorf("%q runs, want a", got)
		}
		w.phase(t, eventlog.PhaseFailed, engine.ReasonCreateFailed)
		if s := w.reports.state("hello"); len(s.Services) != 1 || s.Services[0].State != "running" {
			t.Errorf("the report says %+v of what runs", s.Services)
		}
	})
}

// A score that this agent can't act upon takes nothing away from what it ran.
func TestARefusedScoreKeepsThePresentRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "a")))
		time.Sleep(time.Minute)
		w.source.set(plan.Assigned("hello", 2, []byte(`{"type":"FutureV1"}`)))
		time.Sleep(time.Minute)
		e.drop("web")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := e.image("web"); got != "a" {
			t.Errorf("5 s after it was removed %q runs, want a", got)
		}
		w.phase(t, eventlog.PhaseFailed, "UnsupportedScore")
	})
}

// A score that is taken back while its image is on the way restarts nothing.
func TestAnUpdateThatIsTakenBackRestartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		e.pull["slow"] = images["slow"]
		w, stop := keep(t, e)
		defer stop()
		for _, image := range []string{"a", "slow", "a"} {
			w.source.set(assigned(service("web", image)))
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		w.phase(t, eventlog.PhaseRunning, "")
		if e.made != 1 {
			t.Errorf("%d containers were made, want 1", e.made)
		}
	})
}

func TestAJobThatIsDoneIsNotRunAgainWhenItsContainerIsPruned(t *testing.T) {
	for name, test := range map[string]struct {
		policy string
		code   int
		phase  eventlog.Phase
		reason string
		runs   int
	}{
		"Never, ended well":      {"Never", 0, eventlog.PhaseRunning, "", 1},
		"Never, failed":          {"Never", 1, eventlog.PhaseFailed, plan.ReasonContainerExited, 1},
		"OnFailure, ended well":  {"OnFailure", 0, eventlog.PhaseRunning, "", 1},
		"Always, it is no job":   {"Always", 0, eventlog.PhaseRunning, "", 2},
		"OnFailure, failed once": {"OnFailure", 1, eventlog.PhaseRunning, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFake()
				w, stop := keep(t, e)
				job := assigned(`{"image":"a","name":"web","restartPolicy":"` + test.policy + `"}`)
				w.source.set(job)
				time.Sleep(time.Minute)
				e.change("web", func(c *engine.Container) {
					c.State, c.ExitCode, c.FinishedAt = engine.StateExited, test.code, time.Now()
				})
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				e.drop("web")
				time.Sleep(time.Minute)
				synctest.Wait()
				w.phase(t, test.phase, test.reason)
				if e.made != test.runs {
					t.Errorf("%d containers were made, want %d", e.made, test.runs)
				}
				stop() // another agent knows it too
				again, stop := keepOn(t, e, w.keeps)
				defer stop()
				again.source.set(job)
				time.Sleep(time.Minute)
				synctest.Wait()
				again.phase(t, test.phase, test.reason)
				if e.made != test.runs {
					t.Errorf("%d containers were made after the agent's restart, want %d", e.made, test.runs)
				}
				if test.runs > 1 {
					return
				}
				// Another job is run.
				again.source.set(assigned(`{"args":["again"],"image":"a","name":"web","restartPolicy":"` + test.policy + `"}`))
				time.Sleep(time.Minute)
				synctest.Wait()
				if e.made != test.runs+1 {
					t.Errorf("%d containers were made after the job was changed, want %d", e.made, test.runs+1)
				}
			})
		})
	}
}

// What is in the middle of its replacement is not taken for something that
// happened to it.
func TestTheMiddleOfAReplacementIsNoDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFake()
		w, stop := keep(t, e)
		defer stop()
		w.source.set(assigned(service("web", "a")))
		time.Sleep(time.Minute)
		e.mu.Lock()
		e.takes = 3 * time.Second // each step, and the engine tells of each
		e.mu.Unlock()
		w.source.set(assigned(service("web", "b")))
		for range 8 {
			time.Sleep(time.Second)
			w.source.set(assigned(service("web", "b")))
			synctest.Wait()
			if s := w.reports.state("hello"); s.Phase != eventlog.PhasePending || s.Reason != plan.ReasonReplacing || s.Services[0].State != "running" {
				t.Fatalf("in the middle the report says %s %s, the service is %s", s.Phase, s.Reason, s.Services[0].State)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		w.phase(t, eventlog.PhaseRunning, "")
		if diff := cmp.Diff([]eventlog.Type{eventlog.AgentStepSucceeded, eventlog.AgentStepSucceeded}, w.reports.types()); diff != "" {
			t.Errorf("journal (-want +got):\n%s", diff)
		}
	})
}
