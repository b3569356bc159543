package plan_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog"
)

// model is an engine in a slice: just enough to perform steps on.
type model struct {
	containers []engine.Container
	made       int
	now        time.Time
	memory     plan.Memory
	kept       plan.Keeps
	desired    []plan.Desired
}

func (m *model) plan() plan.Output {
	out := plan.Plan(plan.Input{Device: device, Desired: m.desired, Observed: slices.Clone(m.containers), Memory: m.memory, Kept: m.kept, Now: m.now})
	m.memory, m.kept = out.Memory, out.Kept
	return out
}

func (m *model) at(t *rapid.T, id string) *engine.Container {
	for i := range m.containers {
		if m.containers[i].ID == id {
			if m.containers[i].Device != device || m.containers[i].Deployment == "mystery" {
				t.Fatalf("touches %s of device %s, Deployment %s", id, m.containers[i].Device, m.containers[i].Deployment)
			}
			return &m.containers[i]
		}
	}
	t.Fatalf("touches %q, which is not there", id)
	return nil
}

// perform does the steps of a plan, but those that fails says no to.
func (m *model) perform(t *rapid.T, out plan.Output, fails func(plan.Step) bool) {
	for _, s := range out.Pulls {
		if fails(s) {
			m.memory = m.memory.Failed(s, &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonImagePullFailed, Err: errors.New("no")}, m.now)
			continue
		}
		m.memory = m.memory.Succeeded(s, m.now)
	}
	for _, chain := range out.Chains {
		var created string
		for _, s := range chain.Steps {
			if fails(s) {
				err := &engine.Error{Class: engine.ClassRetry, Reason: engine.ReasonStartFailed, Err: errors.New("no")}
				m.memory = m.memory.Failed(s, err, m.now)
				break
			}
			id := s.Container
			switch s.Verb {
			case plan.VerbCreate:
				m.made++
				created = fmt.Sprintf("m%d", m.made)
				m.containers = append(m.containers, engine.Container{
					Identity: s.Spec.Identity, ID: created, Hash: s.Spec.Service.Hash, State: engine.StateCreated, CreatedAt: m.now,
				})
			case plan.VerbStart:
				if id == "" {
					id = created
				}
				c := m.at(t, id)
				c.State, c.StartedAt = engine.StateRunning, m.now
			case plan.VerbStop:
				c := m.at(t, id)
				c.State, c.FinishedAt, c.ExitCode = engine.StateExited, m.now, 143
			case plan.VerbRemove:
				m.at(t, id)
				m.containers = slices.DeleteFunc(m.containers, func(c engine.Container) bool { return c.ID == id })
			}
			m.memory = m.memory.Succeeded(s, m.now)
		}
	}
	for _, check := range out.Checks {
		m.memory = m.memory.Checked(check, true, "", m.now)
	}
}

func drawContainer(t *rapid.T, i int, hashes []string) engine.Container {
	states := append(engine.States(), engine.StateRunning, engine.StateExited)
	c := engine.Container{
		Identity: engine.Identity{
			Device:     rapid.SampledFrom([]string{device, device, device, "pi-02"}).Draw(t, "device"),
			Deployment: rapid.SampledFrom([]string{"a", "b", "mystery"}).Draw(t, "deployment"),
			Service:    rapid.SampledFrom([]string{"s0", "s1", "s2"}).Draw(t, "service"),
		},
		ID: fmt.Sprintf("c%d", i), Hash: rapid.SampledFrom(hashes).Draw(t, "hash"),
		State: rapid.SampledFrom(states).Draw(t, "state"), CreatedAt: t0.Add(-time.Hour),
		ExitCode: rapid.SampledFrom([]int{0, 1, 137}).Draw(t, "exit"),
	}
	if !c.State.Ended() && !c.State.Unstarted() || c.State.Ended() {
		c.StartedAt = t0.Add(-time.Duration(rapid.IntRange(1, 3600).Draw(t, "ran")) * time.Second)
	}
	if c.State.Ended() {
		c.FinishedAt = t0
	}
	return c
}

func drawDesired(t *rapid.T, deployment string) plan.Desired {
	if rapid.IntRange(0, 3).Draw(t, "withdrawn") == 0 {
		return plan.Withdrawn(deployment)
	}
	var services string
	for i := range rapid.IntRange(1, 3).Draw(t, "services") {
		if i > 0 {
			services += ","
		}
		services += fmt.Sprintf(`{"name":"s%d","image":"a:%d","restartPolicy":%q%s}`, i, rapid.IntRange(1, 2).Draw(t, "tag"),
			rapid.SampledFrom([]string{"Always", "OnFailure", "Never"}).Draw(t, "policy"),
			rapid.SampledFrom([]string{"", `,"healthCheck":{"exec":["x"]}`}).Draw(t, "check"))
	}
	return plan.Assigned(deployment, 1, []byte(`{"type":"PodmanV0","data":{"services":[`+services+`]}}`))
}

// From whatever a device is in, through whatever fails on the way, performing
// what Plan says reaches what is desired, and there Plan says nothing more. It
// never touches another device's containers, nor those of a Deployment of which
// the log says nothing.
func TestPerformingPlansReachesDesired(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{now: t0}
		m.desired = []plan.Desired{drawDesired(t, "a"), drawDesired(t, "b")}
		hashes := []string{"sha256:other"}
		for _, d := range m.desired {
			for _, s := range d.Score.Services {
				hashes = append(hashes, s.Hash)
			}
		}
		for i := range rapid.IntRange(0, 8).Draw(t, "containers") {
			m.containers = append(m.containers, drawContainer(t, i, hashes))
		}
		var foreign []engine.Container
		for _, c := range m.containers {
			if c.Device != device || c.Deployment == "mystery" {
				foreign = append(foreign, c)
			}
		}
		troubles := rapid.IntRange(0, 6).Draw(t, "troubles")
		fails := func(plan.Step) bool {
			if troubles > 0 && rapid.Bool().Draw(t, "fails") {
				troubles--
				return true
			}
			return false
		}
		for round := 0; ; round++ {
			out := m.plan()
			if len(out.Chains)+len(out.Pulls) == 0 && settled(out) && !m.waits() {
				break
			}
			if round > 100 {
				t.Fatalf("no end: %v, wake %s, states %+v", chains(out), out.Wake, out.States)
			}
			m.perform(t, out, fails)
			if len(out.Chains)+len(out.Pulls) == 0 && !out.Wake.IsZero() {
				if !out.Wake.After(m.now) && len(out.Checks) == 0 {
					t.Fatalf("wakes at once, and does nothing")
				}
				m.now = out.Wake
			}
			if troubles > 0 && rapid.IntRange(0, 9).Draw(t, "drift") == 0 {
				m.drift(t)
				troubles--
			}
		}
		m.mustBeDesired(t)
		for _, c := range foreign {
			if !slices.ContainsFunc(m.containers, func(d engine.Container) bool { return cmp.Equal(c, d) }) {
				t.Fatalf("%s of another was changed", c.ID)
			}
		}
		if out := m.plan(); len(out.Chains)+len(out.Pulls) > 0 {
			t.Fatalf("Plan(x, x) is %v", chains(out))
		}
	})
}

// settled: every phase is final, as long as nothing else happens.
func settled(out plan.Output) bool {
	for _, r := range out.Memory {
		if r.Odd != nil || r.Failure != nil || r.Next != nil {
			return false
		}
	}
	for _, s := range out.States {
		if s.Reason != plan.ReasonUnknownDeployment && s.Phase != eventlog.PhaseRunning && s.Reason != plan.ReasonContainerExited {
			return false
		}
	}
	return true
}

// waits: a container that ended is to be started again, after its back-off. The
// phase of its Deployment may be final because of another service.
func (m *model) waits() bool {
	for _, d := range m.desired {
		for _, s := range d.Score.Services {
			if slices.ContainsFunc(m.containers, func(c engine.Container) bool {
				return c.Device == device && c.Deployment == d.Deployment && c.Hash == s.Hash && c.State.Ended() && plan.Restarts(s.RestartPolicy, c.ExitCode)
			}) {
				return true
			}
		}
	}
	return false
}

// drift does to one of our containers what people and kernels do.
func (m *model) drift(t *rapid.T) {
	for i, c := range m.containers {
		if c.Device != device || c.Deployment == "mystery" || c.State != engine.StateRunning {
			continue
		}
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 0:
			m.containers = slices.Delete(m.containers, i, i+1)
		case 1:
			m.containers[i].State = engine.StatePaused
		case 2:
			m.containers[i].State, m.containers[i].FinishedAt = engine.StateExited, m.now
			m.containers[i].ExitCode = rapid.SampledFrom([]int{0, 1, 137}).Draw(t, "code")
		}
		return
	}
}

func (m *model) mustBeDesired(t *rapid.T) {
	for _, d := range m.desired {
		var left []engine.Container
		for _, c := range m.containers {
			if c.Device == device && c.Deployment == d.Deployment {
				left = append(left, c)
			}
		}
		if len(left) != len(d.Score.Services) {
			t.Fatalf("%s has %d containers, want %d", d.Deployment, len(left), len(d.Score.Services))
		}
		for _, s := range d.Score.Services {
			i := slices.IndexFunc(left, func(c engine.Container) bool { return c.Service == s.Name })
			if i < 0 || left[i].Hash != s.Hash {
				t.Fatalf("%s/%s is not as desired", d.Deployment, s.Name)
			}
			if left[i].State != engine.StateRunning && (!left[i].State.Ended() || plan.Restarts(s.RestartPolicy, left[i].ExitCode)) {
				t.Fatalf("%s/%s is %s", d.Deployment, s.Name, left[i].State)
			}
		}
	}
}

// Plan changes nothing of what it is given, and says the same twice.
func TestPlanIsPure(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := drawDesired(t, "a")
		hashes := []string{"sha256:other"}
		for _, s := range d.Score.Services {
			hashes = append(hashes, s.Hash)
		}
		in := plan.Input{Device: device, Desired: []plan.Desired{d}, Now: t0, Memory: plan.Memory{}}
		for i := range rapid.IntRange(0, 6).Draw(t, "containers") {
			in.Observed = append(in.Observed, drawContainer(t, i, hashes))
		}
		before := slices.Clone(in.Observed)
		first := plan.Plan(in)
		second := plan.Plan(in)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("two plans of one input (-first +second):\n%s", diff)
		}
		if diff := cmp.Diff(before, in.Observed); diff != "" || len(in.Memory) > 0 {
			t.Fatalf("the input changed (-before +after):\n%s", diff)
		}
	})
}
