package plan_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
)

const device = "pi-01"

var t0 = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// assigned is the Deployment hello with one service, made of a service's JSON
// fields after the name.
func assigned(fields string) plan.Desired {
	return plan.Assigned("hello", 3, []byte(`{"type":"PodmanV0","data":{"services":[{"name":"web",`+fields+`}]}}`))
}

const image = `"image":"a:1"`

// container is the container of service web of d, in a state.
func container(d plan.Desired, state engine.State, change ...func(*engine.Container)) engine.Container {
	c := engine.Container{
		Identity: engine.Identity{Device: device, Deployment: d.Deployment, Service: "web"},
		ID:       "c1", Hash: d.Score.Services[0].Hash, State: state, CreatedAt: t0.Add(-time.Hour),
	}
	switch {
	case state == engine.StateRunning || state == engine.StatePaused:
		c.StartedAt = t0.Add(-time.Minute)
	case state.Ended():
		c.StartedAt, c.FinishedAt = t0.Add(-time.Minute), t0
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func exit(code int) func(*engine.Container) {
	return func(c *engine.Container) { c.ExitCode = code }
}

func ran(d time.Duration) func(*engine.Container) {
	return func(c *engine.Container) { c.StartedAt = c.FinishedAt.Add(-d) }
}

func since(d time.Duration) func(*engine.Container) {
	return func(c *engine.Container) { c.StartedAt = t0.Add(-d) }
}

// chains writes a plan's chains in one line each.
func chains(out plan.Output) []string {
	var lines []string
	for _, c := range out.Chains {
		line := fmt.Sprintf("%s/%s %s:", c.Deployment, c.Service, c.Why)
		for _, s := range c.Steps {
			line += " " + string(s.Verb)
			if s.Container != "" {
				line += "(" + s.Container + ")"
			}
		}
		lines = append(lines, line)
	}
	for _, s := range out.Pulls {
		lines = append(lines, fmt.Sprintf("%s/%s beside: %s", s.Deployment, s.Service, s.Verb))
	}
	return lines
}

func TestPlanTakesTheStepsThatAStateNeeds(t *testing.T) {
	t.Parallel()
	always := assigned(image)
	old := assigned(`"image":"a:0"`)
	onFailure := assigned(image + `,"restartPolicy":"OnFailure"`)
	never := assigned(image + `,"restartPolicy":"Never"`)
	fixed, chosen := assigned(image+`,"ports":["80:80"]`), assigned(image+`,"ports":["80"]`)
	two := []engine.Container{
		container(always, engine.StateRunning),
		container(always, engine.StateRunning, func(c *engine.Container) { c.ID, c.CreatedAt = "c2", t0 }),
	}
	other := container(always, engine.StateExited)
	other.Device = "pi-02"
	unknown := container(always, engine.StateExited)
	unknown.Deployment = "mystery"
	dropped := container(always, engine.StateRunning)
	dropped.Service = "db"
	for name, test := range map[string]struct {
		desired  plan.Desired
		observed []engine.Container
		memory   plan.Memory
		kept     plan.Keeps
		want     []string
		wake     time.Duration // after t0; 0 is never
	}{
		"nothing there: pull, create, start":                         {desired: always, want: []string{"hello/web Assigned: pull create start"}},
		"running: nothing to do":                                     {desired: always, observed: []engine.Container{container(always, engine.StateRunning)}},
		"made from another score: kept, and the image pulled beside": {desired: always, observed: []engine.Container{container(old, engine.StateRunning)}, want: []string{"hello/web beside: pull"}},
		"its update's image is here: replaced":                       {desired: always, observed: []engine.Container{container(old, engine.StateRunning)}, memory: pulled(old, always), want: []string{"hello/web Changed: stop(c1) remove(c1) create start"}},
		"its update's image is here, and it ended: replaced":         {desired: always, observed: []engine.Container{container(old, engine.StateExited)}, memory: pulled(old, always), want: []string{"hello/web Changed: remove(c1) create start"}},
		"an update waits, and it crashed: started after 1 s":         {desired: always, observed: []engine.Container{container(old, engine.StateExited, exit(1))}, kept: keeps(old), memory: waiting(old, always), wake: time.Second},
		"an update waits, and it was killed: started":                {desired: always, observed: []engine.Container{container(old, engine.StateExited, exit(137))}, kept: keeps(old), memory: waiting(old, always), want: []string{"hello/web Exited: start(c1)"}, wake: 30 * time.Minute},
		"an update waits, killed, and nobody remembers it":           {desired: always, observed: []engine.Container{container(old, engine.StateExited, exit(137))}, memory: waiting(old, always), want: []string{"hello/web Exited: start(c1)"}, wake: 30 * time.Minute},
		"an update waits, and it was removed: made again":            {desired: always, kept: keeps(old), memory: waiting(old, always), want: []string{"hello/web Missing: create start"}, wake: 30 * time.Minute},
		"an update waits, removed, and nobody remembers it":          {desired: always, memory: waiting(old, always), want: []string{"hello/web Assigned: pull create start"}},
		"an update waits, and a job is done: left":                   {desired: always, observed: []engine.Container{container(never, engine.StateExited)}, kept: keeps(never), memory: waiting(never, always), wake: 30 * time.Minute},
		"a job that is done, and was removed: left":                  {desired: never, kept: ended(never, 0)},
		"a job that failed for good, and was removed: left":          {desired: never, kept: ended(never, 1)},
		"another job than the one that is done: run":                 {desired: onFailure, kept: ended(never, 0), want: []string{"hello/web beside: pull"}},
		"a job that was removed before it was done: run again":       {desired: never, kept: keeps(never), want: []string{"hello/web Missing: pull create start"}},
		"made from another score, ended: started, and pulled beside": {desired: always, observed: []engine.Container{container(old, engine.StateExited, exit(137))}, want: []string{"hello/web Exited: start(c1)", "hello/web beside: pull"}},
		"created: started":                                           {desired: always, observed: []engine.Container{container(always, engine.StateCreated)}, want: []string{"hello/web Unstarted: start(c1)"}},
		"configured: started":                                        {desired: always, observed: []engine.Container{container(always, engine.StateConfigured)}, want: []string{"hello/web Unstarted: start(c1)"}},
		"initialized: started":                                       {desired: always, observed: []engine.Container{container(always, engine.StateInitialized)}, want: []string{"hello/web Unstarted: start(c1)"}},
		"created, and its fixed port is in use":                      {desired: fixed, observed: []engine.Container{container(fixed, engine.StateCreated)}, memory: portInUse(fixed), want: []string{"hello/web Unstarted: start(c1)"}},
		"created, and its chosen port was taken":                     {desired: chosen, observed: []engine.Container{container(chosen, engine.StateCreated)}, memory: portInUse(chosen), want: []string{"hello/web Unstarted: pull remove(c1) create start"}},
		"paused: started again":                                      {desired: always, observed: []engine.Container{container(always, engine.StatePaused)}, want: []string{"hello/web Paused: start(c1)"}},
		"stopping: given time":                                       {desired: always, observed: []engine.Container{container(always, engine.StateStopping)}, wake: 30 * time.Second},
		"removing: given time":                                       {desired: always, observed: []engine.Container{container(always, engine.StateRemoving)}, wake: 30 * time.Second},
		"unknown: given time":                                        {desired: always, observed: []engine.Container{container(always, engine.StateUnknown)}, wake: 30 * time.Second},
		"stopping for too long: replaced":                            {desired: always, observed: []engine.Container{container(always, engine.StateStopping)}, memory: odd(always, engine.StateStopping), want: []string{"hello/web Stuck: pull remove(c1) create start"}},
		"unknown for too long: started, which is safe":               {desired: always, observed: []engine.Container{container(always, engine.StateUnknown)}, memory: odd(always, engine.StateUnknown), want: []string{"hello/web Stuck: start(c1)"}},
		"crashed: started after a second":                            {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(1))}, wake: time.Second},
		"crashed after a stable run: at once":                        {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(1), ran(time.Hour))}, want: []string{"hello/web Exited: start(c1)"}},
		"killed by hand: at once":                                    {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(137))}, want: []string{"hello/web Exited: start(c1)"}},
		"killed right after its start, first: at once":               {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(137), ran(time.Second))}, want: []string{"hello/web Exited: start(c1)"}},
		"killed again and again: a crash":                            {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(137))}, memory: killed(always, 5, 1), wake: 2 * time.Second},
		"killed for its memory: a crash":                             {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(137), func(c *engine.Container) { c.OOMKilled = true })}, wake: time.Second},
		"stopped, not cleaned up: as exited":                         {desired: always, observed: []engine.Container{container(always, engine.StateStopped, exit(143))}, want: []string{"hello/web Exited: start(c1)"}},
		"the fifth crash in a row: after 16 s":                       {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(1))}, memory: crashed(always, 4), wake: 16 * time.Second},
		"the hundredth crash: after 5 min":                           {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(1))}, memory: crashed(always, 99), wake: 5 * time.Minute},
		"OnFailure and exited with 0: done":                          {desired: onFailure, observed: []engine.Container{container(onFailure, engine.StateExited)}},
		"OnFailure and exited with 1: started again":                 {desired: onFailure, observed: []engine.Container{container(onFailure, engine.StateExited, exit(1))}, wake: time.Second},
		"Never and exited with 1: left":                              {desired: never, observed: []engine.Container{container(never, engine.StateExited, exit(1))}},
		"removed by hand: made again at once":                        {desired: always, memory: crashed(always, 4), want: []string{"hello/web Missing: pull create start"}},
		"two of them: the younger goes":                              {desired: always, observed: two, want: []string{"hello/web Duplicate: remove(c2)"}},
		"another device's: not touched":                              {desired: plan.Withdrawn("hello"), observed: []engine.Container{other}},
		"of an unknown Deployment: left alone":                       {desired: plan.Withdrawn("hello"), observed: []engine.Container{unknown}},
		"a service that the score dropped: removed":                  {desired: always, observed: []engine.Container{container(always, engine.StateRunning), dropped}, want: []string{"hello/db Dropped: stop(c1) remove(c1)"}},
		"withdrawn: removed":                                         {desired: plan.Withdrawn("hello"), observed: []engine.Container{container(always, engine.StateRunning)}, want: []string{"hello/web Withdrawn: stop(c1) remove(c1)"}},
		"refused, and what was there before was killed: started":     {desired: plan.Assigned("hello", 4, []byte(`{"type":"X"}`)), observed: []engine.Container{container(always, engine.StateExited, exit(137))}, kept: keeps(always), want: []string{"hello/web Exited: start(c1)"}},
		"refused, and what was there before was removed: made again": {desired: plan.Assigned("hello", 4, []byte(`{"type":"X"}`)), kept: keeps(always), want: []string{"hello/web Missing: create start"}},
		"withdrawn while it is kept: removed":                        {desired: plan.Withdrawn("hello"), observed: []engine.Container{container(always, engine.StateRunning)}, kept: keeps(always), want: []string{"hello/web Withdrawn: stop(c1) remove(c1)"}},
		"refused: what runs goes on":                                 {desired: plan.Assigned("hello", 4, []byte(`{"type":"X"}`)), observed: []engine.Container{container(always, engine.StateRunning)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := plan.Plan(plan.Input{Device: device, Desired: []plan.Desired{test.desired}, Observed: test.observed, Memory: test.memory, Kept: test.kept, Now: t0})
			if diff := cmp.Diff(test.want, chains(out)); diff != "" {
				t.Errorf("chains (-want +got):\n%s", diff)
			}
			var wake time.Duration
			if !out.Wake.IsZero() {
				wake = out.Wake.Sub(t0)
			}
			if wake != test.wake {
				t.Errorf("wakes after %s, want %s", wake, test.wake)
			}
		})
	}
}

// A container that somebody made with a label of ours, or with names that no
// agent gives, can't be reported, is not removed, and is in nobody's way.
func TestAContainerWithoutAnAgentsNamesIsForeign(t *testing.T) {
	t.Parallel()
	hello := assigned(image)
	observed := []engine.Container{container(hello, engine.StateRunning)}
	for n, id := range []engine.Identity{
		{Deployment: "", Service: ""},
		{Deployment: "hello", Service: ""},
		{Deployment: "a.b", Service: "web"},
		{Deployment: "*", Service: "web"},
		{Deployment: "two words", Service: "web"},
		{Deployment: strings.Repeat("x", 64), Service: "web"},
	} {
		c := container(hello, engine.StateExited)
		c.ID, c.Deployment, c.Service = fmt.Sprintf("x%d", n), id.Deployment, id.Service
		observed = append(observed, c)
	}
	out := plan.Plan(plan.Input{Device: device, Desired: []plan.Desired{hello}, Observed: observed, Now: t0})
	if got := chains(out); len(got) > 0 {
		t.Errorf("chains %q, want none", got)
	}
	if len(out.States) != 1 || out.States[0].Deployment != "hello" {
		t.Errorf("states %+v, want that of hello alone", out.States)
	}
}

func odd(d plan.Desired, state engine.State) plan.Memory {
	return plan.Memory{{Deployment: "hello", Service: "web"}: {
		Hash: d.Score.Services[0].Hash, Container: "c1", Ran: true,
		Odd: &plan.Odd{State: state, Since: t0.Add(-time.Minute)},
	}}
}

// keeps remembers the service of a Deployment, whose container is or was there.
func keeps(d plan.Desired) plan.Keeps {
	return plan.Keeps{{Deployment: "hello", Service: "web"}: {Revision: 2, Service: d.Score.Services[0]}}
}

func ended(d plan.Desired, code int) plan.Keeps {
	k := keeps(d)
	for key, kept := range k {
		kept.Ended = &plan.Ended{ExitCode: code}
		k[key] = kept
	}
	return k
}

// pulled remembers that the image of an update from old to next came.
func pulled(old, next plan.Desired) plan.Memory {
	return plan.Memory{{Deployment: "hello", Service: "web"}: {
		Hash: old.Score.Services[0].Hash, Container: "c1", Ran: true, Next: &plan.Next{Hash: next.Score.Services[0].Hash, Pulled: true},
	}}
}

// waiting remembers that the image of an update from old to next can't be had.
func waiting(old, next plan.Desired) plan.Memory {
	return plan.Memory{{Deployment: "hello", Service: "web"}: {
		Hash: old.Score.Services[0].Hash, Ran: true, Next: &plan.Next{
			Hash: next.Score.Services[0].Hash, Failures: 9,
			Failure: &plan.Failure{Verb: plan.VerbPull, Reason: engine.ReasonImageNotFound, Message: "manifest unknown", RetryAt: t0.Add(30 * time.Minute)},
		},
	}}
}

func crashed(d plan.Desired, times int) plan.Memory {
	return plan.Memory{{Deployment: "hello", Service: "web"}: {
		Hash: d.Score.Services[0].Hash, Container: "c1", Ran: true, Crashes: times, LastEnd: "it exited with 1",
		RestartAt: t0.Add(time.Hour),
	}}
}

func killed(d plan.Desired, times, crashes int) plan.Memory {
	return plan.Memory{{Deployment: "hello", Service: "web"}: {
		Hash: d.Score.Services[0].Hash, Container: "c1", Ran: true, Kills: times, Crashes: crashes,
	}}
}

func failed(d plan.Desired, class engine.Class, times int) plan.Memory {
	m := plan.Memory{{Deployment: "hello", Service: "web"}: {Hash: d.Score.Services[0].Hash}}
	for range times {
		m = m.Failed(plan.Step{Key: plan.Key{Deployment: "hello", Service: "web"}, Verb: plan.VerbPull},
			&engine.Error{Class: class, Reason: engine.ReasonImagePullFailed, Err: errors.New("no")}, t0)
	}
	return m
}

func portInUse(d plan.Desired) plan.Memory {
	m := plan.Memory{{Deployment: "hello", Service: "web"}: {Hash: d.Score.Services[0].Hash, Container: "c1"}}
	return m.Failed(plan.Step{Key: plan.Key{Deployment: "hello", Service: "web"}, Verb: plan.VerbStart},
		&engine.Error{Reason: engine.ReasonPortInUse, Err: errors.New("in use")}, t0.Add(-time.Minute))
}

func checked(d plan.Desired, c engine.Container, results ...bool) plan.Memory {
	m := plan.Memory{{Deployment: "hello", Service: "web"}: {Hash: d.Score.Services[0].Hash, Container: "c1", Ran: true}}
	check := plan.Check{Key: plan.Key{Deployment: "hello", Service: "web"}, Container: c.ID, StartedAt: c.StartedAt, Check: *d.Score.Services[0].HealthCheck}
	for _, passed := range results {
		m = m.Checked(check, passed, "status 503", t0)
	}
	return m
}

func TestPhaseFollowsItsPredicate(t *testing.T) {
	t.Parallel()
	always := assigned(image)
	never := assigned(image + `,"restartPolicy":"Never"`)
	checkedBy := assigned(image + `,"healthCheck":{"http":{"port":80},"retries":2}`)
	patient := assigned(image + `,"healthCheck":{"http":{"port":80},"retries":2,"startPeriod":"10m"}`)
	up := container(checkedBy, engine.StateRunning)
	slow := container(patient, engine.StateRunning)
	for name, test := range map[string]struct {
		desired  plan.Desired
		observed []engine.Container
		memory   plan.Memory
		kept     plan.Keeps
		phase    eventlog.Phase
		reason   string
		says     string
		health   string
		revision uint64 // of the service, where an earlier one is kept
	}{
		"no container yet":                                       {desired: always, phase: eventlog.PhasePending, reason: plan.ReasonCreating},
		"an old container":                                       {desired: always, observed: []engine.Container{container(never, engine.StateRunning)}, phase: eventlog.PhasePending, reason: plan.ReasonReplacing},
		"an update whose image can't be had":                     {desired: always, observed: []engine.Container{container(never, engine.StateRunning)}, kept: keeps(never), memory: waiting(never, always), phase: eventlog.PhaseFailed, reason: engine.ReasonImageNotFound, says: "revision 2 is kept until its update can take its place: pull: manifest unknown", revision: 2},
		"an update that is pulled slowly, and what runs crashes": {desired: always, observed: []engine.Container{container(never, engine.StateRunning, since(time.Second))}, kept: keeps(never), memory: crashed(never, 3), phase: eventlog.PhasePending, reason: plan.ReasonReplacing, revision: 2},
		"an update that is pulled slowly, what runs is checked":  {desired: always, observed: []engine.Container{up}, kept: keeps(checkedBy), memory: checked(checkedBy, up, true), phase: eventlog.PhasePending, reason: plan.ReasonReplacing, health: plan.HealthHealthy, revision: 2},
		"a job that is done, and was removed":                    {desired: never, kept: ended(never, 0), phase: eventlog.PhaseRunning},
		"a job that failed, and was removed":                     {desired: never, kept: ended(never, 2), phase: eventlog.PhaseFailed, reason: plan.ReasonContainerExited, says: "exited with 2"},
		"made, not started":                                      {desired: always, observed: []engine.Container{container(always, engine.StateCreated)}, phase: eventlog.PhasePending, reason: plan.ReasonStarting},
		"running":                                                {desired: always, observed: []engine.Container{container(always, engine.StateRunning)}, phase: eventlog.PhaseRunning},
		"a pull that failed":                                     {desired: always, memory: failed(always, engine.ClassRetry, 1), phase: eventlog.PhaseFailed, reason: engine.ReasonImagePullFailed, says: `service "web": pull: no`},
		"crashed once, about to start":                           {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(3))}, phase: eventlog.PhasePending, reason: plan.ReasonStarting},
		"crashed once, running again":                            {desired: always, observed: []engine.Container{container(always, engine.StateRunning, since(time.Second))}, memory: crashed(always, 1), phase: eventlog.PhaseRunning},
		"crashed in a row":                                       {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(3))}, memory: crashed(always, 1), phase: eventlog.PhaseFailed, reason: plan.ReasonCrashLoop, says: "exited with 3, at least twice in a row"},
		"running again, not settled":                             {desired: always, observed: []engine.Container{container(always, engine.StateRunning, since(time.Second))}, memory: crashed(always, 3), phase: eventlog.PhaseFailed, reason: plan.ReasonCrashLoop, says: "at least twice in a row"},
		"running again, settled":                                 {desired: always, observed: []engine.Container{container(always, engine.StateRunning, since(10*time.Second))}, memory: crashed(always, 3), phase: eventlog.PhaseRunning},
		"killed by hand, about to start":                         {desired: always, observed: []engine.Container{container(always, engine.StateExited, exit(137))}, phase: eventlog.PhasePending, reason: plan.ReasonStarting},
		"a job that is done":                                     {desired: never, observed: []engine.Container{container(never, engine.StateExited)}, phase: eventlog.PhaseRunning},
		"a job that failed":                                      {desired: never, observed: []engine.Container{container(never, engine.StateExited, exit(2))}, phase: eventlog.PhaseFailed, reason: plan.ReasonContainerExited, says: "exited with 2"},
		"a check that was not made yet":                          {desired: checkedBy, observed: []engine.Container{up}, phase: eventlog.PhasePending, reason: plan.ReasonStarting, health: plan.HealthStarting},
		"a check that passed":                                    {desired: checkedBy, observed: []engine.Container{up}, memory: checked(checkedBy, up, true), phase: eventlog.PhaseRunning, health: plan.HealthHealthy},
		"a check that failed once":                               {desired: checkedBy, observed: []engine.Container{up}, memory: checked(checkedBy, up, false), phase: eventlog.PhasePending, reason: plan.ReasonStarting, health: plan.HealthStarting},
		"a check that failed once too often":                     {desired: checkedBy, observed: []engine.Container{up}, memory: checked(checkedBy, up, true, false, false), phase: eventlog.PhaseFailed, reason: plan.ReasonUnhealthy, says: "2 checks in a row failed: status 503", health: plan.HealthUnhealthy},
		"a check that failed for long":                           {desired: checkedBy, observed: []engine.Container{up}, memory: checked(checkedBy, up, true, false, false, false, false), phase: eventlog.PhaseFailed, reason: plan.ReasonUnhealthy, says: "2 checks in a row failed: status 503", health: plan.HealthUnhealthy},
		"well again":                                             {desired: checkedBy, observed: []engine.Container{up}, memory: checked(checkedBy, up, false, false, true), phase: eventlog.PhaseRunning, health: plan.HealthHealthy},
		"failing in its start period":                            {desired: patient, observed: []engine.Container{slow}, memory: checked(patient, slow, false, false, false), phase: eventlog.PhasePending, reason: plan.ReasonStarting, health: plan.HealthStarting},
		"checked in an earlier run":                              {desired: checkedBy, observed: []engine.Container{up}, memory: checked(checkedBy, container(checkedBy, engine.StateRunning, since(time.Hour)), true), phase: eventlog.PhasePending, reason: plan.ReasonStarting, health: plan.HealthStarting},
		"a score of unknown type":                                {desired: plan.Assigned("hello", 4, []byte(`{"type":"X"}`)), phase: eventlog.PhaseFailed, reason: "UnsupportedScore", says: `"X" is not known`},
		"withdrawn, not gone yet":                                {desired: plan.Withdrawn("hello"), observed: []engine.Container{up}, phase: eventlog.PhasePending, reason: plan.ReasonRemoving},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := plan.Plan(plan.Input{Device: device, Desired: []plan.Desired{test.desired}, Observed: test.observed, Memory: test.memory, Kept: test.kept, Now: t0})
			if len(out.States) != 1 {
				t.Fatalf("%d states, want 1", len(out.States))
			}
			state := out.States[0]
			var says string
			if state.LastError != nil {
				says = *state.LastError
			}
			if state.Phase != test.phase || state.Reason != test.reason || !strings.Contains(says, test.says) || (says != "") != (test.says != "") {
				t.Errorf("%s %s %q, want %s %s %q", state.Phase, state.Reason, says, test.phase, test.reason, test.says)
			}
			if state.ScoreHash != test.desired.ScoreHash || state.Revision != test.desired.Revision {
				t.Errorf("reports %s, revision %d", state.ScoreHash, state.Revision)
			}
			if len(state.Services) > 0 && state.Services[0].Revision != test.revision {
				t.Errorf("the service is of revision %d, want %d", state.Services[0].Revision, test.revision)
			}
			if len(state.Services) > 0 && state.Services[0].Health != test.health {
				t.Errorf("health %q, want %q", state.Services[0].Health, test.health)
			}
		})
	}
}

func TestBackOffFollowsTheClassOfTheError(t *testing.T) {
	t.Parallel()
	d := assigned(image)
	for name, test := range map[string]struct {
		class engine.Class
		times int
		wake  time.Duration
	}{
		"a network in trouble: a second":     {engine.ClassRetry, 1, time.Second},
		"again: two":                         {engine.ClassRetry, 2, 2 * time.Second},
		"for long: five minutes":             {engine.ClassRetry, 50, 5 * time.Minute},
		"no such image: slowly":              {engine.ClassRetrySlowly, 1, 30 * time.Second},
		"too many requests: much later":      {engine.ClassRetryLate, 1, 10 * time.Minute},
		"wrong input: hardly ever":           {engine.ClassChange, 1, time.Hour},
		"the engine is away: soon, for ever": {engine.ClassAway, 50, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := plan.Input{Device: device, Desired: []plan.Desired{d}, Memory: failed(d, test.class, test.times), Now: t0}
			out := plan.Plan(in)
			if len(out.Chains) > 0 {
				t.Fatalf("plans %v before its time", chains(out))
			}
			if got := out.Wake.Sub(t0); got != test.wake {
				t.Fatalf("wakes after %s, want %s", got, test.wake)
			}
			in.Now = out.Wake
			if out := plan.Plan(in); len(out.Chains) != 1 {
				t.Errorf("plans %v when its time has come", chains(out))
			}
			in.Now = t0.Add(-24 * time.Hour)
			if out := plan.Plan(in); len(out.Chains) != 1 {
				t.Errorf("a clock that was set back makes it wait for a day")
			}
		})
	}
}

func TestChecksAreMadeWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	d := assigned(image + `,"healthCheck":{"exec":["true"],"interval":"10s","startPeriod":"30s"}`)
	c := container(d, engine.StateRunning, since(0))
	in := plan.Input{Device: device, Desired: []plan.Desired{d}, Observed: []engine.Container{c}, Now: t0}
	out := plan.Plan(in)
	if len(out.Checks) != 1 {
		t.Fatalf("%d checks right after the start, want 1", len(out.Checks))
	}
	in.Memory = out.Memory.Checked(out.Checks[0], false, "no", t0)
	out = plan.Plan(in)
	if len(out.Checks) != 0 || out.Wake.Sub(t0) != time.Second {
		t.Errorf("in the start period: %d checks, the next after %s, want 0 and 1s", len(out.Checks), out.Wake.Sub(t0))
	}
	check := plan.Check{Key: plan.Key{Deployment: "hello", Service: "web"}, Container: c.ID, StartedAt: c.StartedAt, Check: *d.Score.Services[0].HealthCheck}
	in.Memory = in.Memory.Checked(check, true, "", t0)
	if out = plan.Plan(in); len(out.Checks) != 0 || out.Wake.Sub(t0) != 10*time.Second {
		t.Errorf("once it passed: %d checks, the next after %s, want 0 and 10s", len(out.Checks), out.Wake.Sub(t0))
	}
}

func TestMemoryIsJSON(t *testing.T) {
	t.Parallel()
	want := failed(assigned(image), engine.ClassRetryLate, 2)
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got plan.Memory
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
}
