package decide_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/rollout"
)

const gated = `{"batches": [{"size": 1, "soak": "1m", "gates": [{"name": "errors", "prometheus": {"server": "main", "query": "errors", "max": "0.05", "for": "1m"}}]}, {"soak": "1m"}],
	"progressDeadline": "5m", "maxUnavailable": "100%"}`

// answer has the server of the open batch's gate answer, and lets the time to the next
// question go by. It says whether the gate is still asked.
func (s *show) answer(value float64, problem string) bool {
	asked := s.Questions()
	for _, q := range asked {
		due, err := decide.Measured(s.State, decide.Answer{Question: q, Value: value, Error: problem}, now)
		if err != nil || len(due) != 1 {
			s.Fatalf("of an answer follows %v (error %v)", told(due), err)
		}
		s.append(due...)
	}
	s.pass(15 * time.Second)
	return len(asked) > 0
}

func soaked(t *testing.T) *show {
	s := newShow(t, 4)
	s.apply("app:1", "{}")
	s.pass(time.Minute)
	s.nature["app:2"] = eventlog.PhaseRunning
	s.apply("app:2", gated)
	s.pass(time.Second)
	if asked := s.Questions(); len(asked) > 0 {
		t.Fatalf("gates are asked before the devices have proven it: %+v", asked)
	}
	s.pass(time.Minute)
	return s
}

// A gate is asked once the devices are through, and must hold without a gap.
func TestAGateHolds(t *testing.T) {
	t.Parallel()
	s := soaked(t)
	from := len(s.log)
	web := key("a/web")
	waits := func(sentence string) {
		t.Helper()
		w := rollout.Look(s.View(), s.View().Deployments[web], now.Add(s.clock)).OpenBatch()
		if w.Kind != rollout.WaitGate || w.Name != "errors" || !strings.Contains(w.Message, sentence) {
			t.Errorf("it waits for %+v, want %q", w, sentence)
		}
		if got := s.Progress(web).Gate; !strings.Contains(got, sentence) {
			t.Errorf("the status says %q, want %q", got, sentence)
		}
	}
	waits("gate errors has yet to be answered by Prometheus server main")
	s.answer(0, "Prometheus server main is away")
	waits("gate errors has no answer: Prometheus server main is away")
	s.answer(0.2, "")
	waits("its value is 0.2, and has to be at most 0.05 for 1m0s")
	for range 4 {
		s.answer(0.01, "")
	}
	waits("gate errors passes with 0.01, which has to be so for 1m0s")
	s.pass(2 * time.Minute) // nobody asks, for the leader is gone
	s.answer(0.01, "")      // where the gap did not count this would be more than a minute
	waits("gate errors passes")
	for range 4 {
		s.answer(0.05, "")
	}
	if got := s.rollouts(from); got[len(got)-1] != "batch_started 2" || got[len(got)-2] != "batch_succeeded 1" {
		t.Errorf("after a minute of answers it goes on: %v", got)
	}
	if s.answer(0.05, "") {
		t.Errorf("a gate is asked about a batch that is through")
	}
}

// A gate that says no, or nothing, for a whole deadline pauses the rollout; a resume asks
// anew.
func TestAGateThatDoesNotHoldPauses(t *testing.T) {
	t.Parallel()
	for reason, problem := range map[string]string{v1alpha1.ReasonGateFailed: "", v1alpha1.ReasonGateUnanswered: "there is no sample"} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			s := soaked(t)
			asked := 0
			for s.answer(0.2, problem) {
				asked++
			}
			if run := s.run(); run.Phase != "Paused" || run.Reason != reason || asked != 21 || !strings.Contains(run.Message, "gate errors") {
				t.Errorf("after %d answers: %+v", asked, run)
			}
			s.tell(eventlog.RequestSubject("ada", "a", "web"), eventlog.RequestMade, eventlog.Request{Verb: eventlog.RequestResume, Revision: 2, Run: s.run().ID, Batch: 1})
			s.pass(time.Second)
			for range 6 {
				s.answer(0.01, "")
			}
			if run := s.run(); run.Batch != 2 {
				t.Errorf("after a resume and good answers: %+v", run)
			}
		})
	}
}

// An answer that comes late, or about another definition of the gate, is dropped.
func TestAnAnswerThatIsAboutNothingIsDropped(t *testing.T) {
	t.Parallel()
	s := soaked(t)
	q := s.Questions()[0]
	for name, a := range map[string]decide.Answer{
		"of another run":        {Question: decide.Question{Key: q.Key, Run: q.Run - 1, Batch: q.Batch, Gate: q.Gate, Digest: q.Digest}},
		"of another batch":      {Question: decide.Question{Key: q.Key, Run: q.Run, Batch: q.Batch + 1, Gate: q.Gate, Digest: q.Digest}},
		"of another gate":       {Question: decide.Question{Key: q.Key, Run: q.Run, Batch: q.Batch, Gate: "latency", Digest: q.Digest}},
		"of another definition": {Question: decide.Question{Key: q.Key, Run: q.Run, Batch: q.Batch, Gate: q.Gate, Digest: "other"}},
		"of nothing":            {Question: decide.Question{Key: key("a/none")}},
	} {
		if due, err := decide.Measured(s.State, a, now); err != nil || len(due) > 0 {
			t.Errorf("%s: %v (error %v)", name, told(due), err)
		}
	}
}

// A gate that held, and was not asked since, lets nothing through once another one holds:
// nobody knows how it is now.
func TestAnOldAnswerLetsNoBatchThrough(t *testing.T) {
	t.Parallel()
	s := newShow(t, 4)
	s.apply("app:1", "{}")
	s.pass(time.Minute)
	s.nature["app:2"] = eventlog.PhaseRunning
	s.apply("app:2", `{"batches": [{"size": 1, "soak": "1m", "gates": [
		{"name": "errors", "prometheus": {"server": "main", "query": "errors", "max": "0.05", "for": "0s"}},
		{"name": "latency", "prometheus": {"server": "main", "query": "latency", "max": "0.05", "for": "0s"}}]}, {}]}`)
	s.pass(time.Second)
	s.pass(time.Minute)
	from := len(s.log)
	says := func(gate string, value float64) {
		t.Helper()
		for _, q := range s.Questions() {
			if q.Gate != gate {
				continue
			}
			due, err := decide.Measured(s.State, decide.Answer{Question: q, Value: value}, now)
			if err != nil || len(due) != 1 {
				t.Fatalf("of an answer of %s follows %v (error %v)", gate, told(due), err)
			}
			s.append(due...)
		}
		s.pass(time.Second)
	}
	says("errors", 0.01)
	says("latency", 0.2)
	s.pass(2 * time.Minute) // no replica leads
	says("latency", 0.01)
	if got := s.rollouts(from); slices.Contains(got, "batch_succeeded 1") {
		t.Fatalf("the last answer about errors is two minutes old: %v", got)
	}
	says("errors", 0.01)
	if got := s.rollouts(from); !slices.Contains(got, "batch_succeeded 1") {
		t.Errorf("both gates hold, and the batch is not through: %v", got)
	}
}

// However often the definitions of gates change while a batch is open, the present one's
// answers count.
func TestAGateThatIsCorrectedManyTimesIsHeard(t *testing.T) {
	t.Parallel()
	s := soaked(t)
	for i := range 40 {
		s.apply("app:2", strings.ReplaceAll(gated, `"query": "errors"`, fmt.Sprintf(`"query": "errors + %d"`, i)))
		s.answer(0.2, "")
	}
	for range 6 {
		s.answer(0.01, "")
	}
	if run := s.run(); run.Batch != 2 {
		t.Errorf("the last definition of the gate held for a minute, and batch %d is open: %+v", run.Batch, s.Questions())
	}
}

// Answers that are no further apart than two intervals are one stretch; a longer gap begins
// a gate's time anew.
func TestAGapOfMoreThanTwoIntervalsBeginsAnew(t *testing.T) {
	t.Parallel()
	for gap, want := range map[time.Duration]int{30 * time.Second: 2, 31 * time.Second: 1} {
		s := soaked(t)
		for range 3 { // the next one is due after two gaps
			s.answer(0.01, "")
			s.pass(gap - 15*time.Second)
		}
		if got := s.run().Batch; got != want {
			t.Errorf("with answers each %s for a minute batch %d is open, want %d", gap, got, want)
		}
	}
}

// A gate that no value could pass is refused with what is wrong.
func TestAGateThatNoValuePassesIsAProblem(t *testing.T) {
	t.Parallel()
	spec := decide.SpecOf(cr("a", "web", "app:1", site, withRollout(`{"batches": [{"gates": [{"name": "load", "prometheus": {"server": "main", "query": "load", "min": "5", "max": "1"}}]}]}`)))
	if spec.Problem == nil || spec.Problem.Reason != v1alpha1.ReasonInvalidRollout || !strings.Contains(spec.Problem.Message, `gate "load" wants at least 5 and at most 1`) {
		t.Errorf("%+v", spec.Problem)
	}
}

// While a person holds the rollout no gate is asked, and an answer that was on its way
// counts for nothing; after it the gate's time begins anew.
func TestAHoldAsksNoGate(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]struct{ begin, end func(*show) }{
		"a pause": {
			func(s *show) { s.request(eventlog.RequestPause) },
			func(s *show) { s.request(eventlog.RequestResume) },
		},
		"spec.rollout.paused": {
			func(s *show) { s.apply("app:2", strings.Replace(gated, "{", `{"paused": true, `, 1)) },
			func(s *show) { s.apply("app:2", gated) },
		},
	} {
		s := soaked(t)
		for range 3 {
			s.answer(0.01, "")
		}
		asked := s.Questions()
		hold.begin(s)
		s.pass(time.Second)
		if len(asked) != 1 || len(s.Questions()) > 0 {
			t.Fatalf("%s: before it %d gates were asked, want 1, and while it holds %d, want none", name, len(asked), len(s.Questions()))
		}
		if due, err := decide.Measured(s.State, decide.Answer{Question: asked[0], Value: 0.01}, now); err != nil || len(due) > 0 {
			t.Errorf("%s: of an answer follows %v (error %v)", name, told(due), err)
		}
		hold.end(s)
		s.pass(time.Second)
		for range 4 {
			s.answer(0.01, "")
		}
		if got := s.run().Batch; got != 1 {
			t.Errorf("%s: a gate that has to hold for 1m was asked for 45s after it, and batch %d is open", name, got)
		}
		s.answer(0.01, "")
		if got := s.run().Batch; got != 2 {
			t.Errorf("%s: the gate held for 1m after it, and batch %d is open", name, got)
		}
	}
}

// request has ada ask for something about the present run.
func (s *show) request(verb string) {
	run := s.run()
	s.tell(eventlog.RequestSubject("ada", "a", "web"), eventlog.RequestMade, eventlog.Request{Verb: verb, Revision: run.Target.Revision, Run: run.ID, Batch: run.Batch})
	s.settle(decide.OfDeployment(key("a/web")))
}
