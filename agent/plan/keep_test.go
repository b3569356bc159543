package plan_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fleet.nationtech.io/agent/engine"
	"fleet.nationtech.io/agent/plan"
	"fleet.nationtech.io/eventlog/score"
)

// While an update can't take its place, whatever is done to the containers, and
// through restarts of the agent, each service is as its present revision wants
// it. Once it can, it takes its place.
func TestAServiceIsKeptUntilItsUpdateCanTakeItsPlace(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		present := drawAssigned(t, "a")
		m := &model{now: t0, desired: []plan.Desired{present}}
		never := func(plan.Step) bool { return false }
		m.until(t, never, func(out plan.Output) bool { return settled(out) && idle(out) })

		next := drawAssigned(t, "a")
		if rapid.IntRange(0, 4).Draw(t, "refused") == 4 {
			next = plan.Assigned("a", 2, []byte(`{"type":"X"}`))
		}
		m.desired = []plan.Desired{next}
		// Either no image comes, or no container can be made of it.
		verb := rapid.SampledFrom([]plan.Verb{plan.VerbPull, plan.VerbCreate}).Draw(t, "verb")
		var presentHashes []string
		for _, s := range present.Score.Services {
			presentHashes = append(presentHashes, s.Hash)
		}
		blocked := func(s plan.Step) bool {
			return s.Verb == verb && !slices.Contains(presentHashes, s.Spec.Service.Hash)
		}
		for range rapid.IntRange(1, 5).Draw(t, "troubles") {
			m.drift(t)
			if rapid.Bool().Draw(t, "the agent restarts") {
				m.restart(t)
			}
			m.until(t, blocked, func(out plan.Output) bool { return idle(out) && m.keeps(present, next) })
		}
		if next.Refusal != nil {
			return
		}
		m.until(t, never, func(out plan.Output) bool { return settled(out) && idle(out) })
		m.mustBeDesired(t)
	})
}

func drawAssigned(t *rapid.T, deployment string) plan.Desired {
	for {
		if d := drawDesired(t, deployment); !d.Withdrawn {
			return d
		}
	}
}

func idle(out plan.Output) bool { return len(out.Chains)+len(out.Pulls) == 0 }

// until performs plans, and lets time pass where there is nothing to do, until
// done is content.
func (m *model) until(t *rapid.T, fails func(plan.Step) bool, done func(plan.Output) bool) {
	for range 200 {
		out := m.plan()
		if done(out) {
			return
		}
		m.perform(t, out, fails)
		if idle(out) && !out.Wake.IsZero() && out.Wake.After(m.now) {
			m.now = out.Wake
		}
	}
	t.Fatalf("no end: %v, states %+v, kept %v", chains(m.plan()), m.plan().States, m.kept)
}

// keeps says whether each service of the present revision that the next one has
// too is there as the present one wants it.
func (m *model) keeps(present, next plan.Desired) bool {
	for _, s := range present.Score.Services {
		if next.Refusal == nil && !slices.ContainsFunc(next.Score.Services, func(n score.Service) bool { return n.Name == s.Name }) {
			continue // dropped
		}
		i := slices.IndexFunc(m.containers, func(c engine.Container) bool { return c.Service == s.Name })
		if over := m.kept[plan.Key{Deployment: "a", Service: s.Name}].Ended; i < 0 {
			if over == nil {
				return false
			}
			continue
		}
		c := m.containers[i]
		if c.Hash != s.Hash || c.State != engine.StateRunning && (!c.State.Ended() || plan.Restarts(s.RestartPolicy, c.ExitCode)) {
			return false
		}
	}
	return true
}

// restart loses what an agent loses when its process ends.
func (m *model) restart(t *rapid.T) {
	raw, err := json.Marshal(m.kept)
	if err != nil {
		t.Fatal(err)
	}
	var kept plan.Keeps
	if err := json.Unmarshal(raw, &kept); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.kept, kept); diff != "" {
		t.Fatalf("kept (-before +after):\n%s", diff)
	}
	m.kept, m.memory = kept, nil
}
