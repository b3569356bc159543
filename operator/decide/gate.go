package decide

import (
	"fmt"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
)

// Question is a gate of an open batch that is to be asked.
type Question struct {
	Key    fleet.Key
	Run    uint64
	Batch  int
	Gate   string // its name
	Digest string // of its definition
	Server string
	Query  string
	At     time.Time // when, by the log's clock; the zero time: at once
}

// Answer is what a gate's server said.
type Answer struct {
	Question
	Value float64
	Error string // why it is no value; empty: Value counts
}

// Questions gives the gates that are to be asked, now or later: those of batches that wait
// for nothing else.
func (s *State) Questions() (qs []Question) {
	s.refresh()
	for key, pl := range s.placements {
		run := &pl.phase.log.Run
		if len(pl.set.Batch(run, run.Batch).Gates) == 0 {
			continue
		}
		if c := s.deploymentCase(key, time.Time{}); c.gated() {
			for _, g := range pl.set.Batch(run, run.Batch).Gates {
				qs = append(qs, Question{Key: key, Run: run.ID, Batch: run.Batch, Gate: g.Name, Digest: g.Digest, Server: g.Server, Query: g.Query, At: g.Asked(run)})
			}
		}
	}
	return qs
}

// gated says whether the open batch waits for its gates alone.
func (c deploymentCase) gated() bool {
	run := &c.log.Run
	switch {
	case c.place == nil || !c.current(c.spec) || run.Phase != fleet.PhaseProgressing || c.place.set.Held(c.log) || rollout.Immediate(run):
		return false
	case run.Passed || run.Failed || run.Full || c.place.matched == 0 || !c.heard():
		return false
	}
	return c.judgement(c.counts()) == batchThrough && c.place.set.NotHolding(run, c.Clock()) != nil
}

// Measured gives the event of a gate's answer. An answer that is no longer about the open
// batch, or about another definition of the gate, is dropped.
func Measured(s *State, a Answer, now time.Time) ([]eventlog.Draft, error) {
	c := s.deploymentCase(a.Key, now)
	if c.place == nil || c.log.Run.ID != a.Run || c.log.Run.Batch != a.Batch || !c.gated() {
		return nil, nil
	}
	run := &c.log.Run
	for _, g := range c.place.set.Batch(run, run.Batch).Gates {
		if g.Name != a.Gate || g.Digest != a.Digest {
			continue
		}
		answers := 1
		if was := run.Gate(g.Name, g.Digest); was != nil {
			answers += was.Answers
		}
		said := eventlog.GateAnswer{
			Name: g.Name, Digest: g.Digest, Server: g.Server, Verdict: eventlog.GateNone, Error: clip(a.Error, maxGateError), Every: eventlog.Duration(g.Every(answers)),
		}
		if a.Error == "" {
			said.Verdict, said.Value = g.Verdict(a.Value), &a.Value
		}
		due, _, err := c.event(eventlog.RolloutGateMeasured, eventlog.Rollout{Batch: run.Batch, Reason: reasonsOfVerdicts[said.Verdict], Gate: &said})
		return s.traced(due), err
	}
	return nil, nil
}

// maxGateError bounds why a gate has no value, in bytes.
const maxGateError = 1 << 10

// reasonsOfVerdicts are the reasons of rollout.gate_measured.
var reasonsOfVerdicts = map[string]string{eventlog.GatePass: "GatePasses", eventlog.GateFail: v1alpha1.ReasonGateFailed, eventlog.GateNone: v1alpha1.ReasonGateUnanswered}

// pauseGated (B12): for a whole deadline a gate said no, or nothing.
func (c deploymentCase) pauseGated(pause func(reason, message string) ([]eventlog.Draft, bool, error)) ([]eventlog.Draft, bool, error) {
	run := &c.log.Run
	for _, g := range c.place.set.Batch(run, run.Batch).Gates {
		if !g.Overdue(run, c.place.set.Deadline) {
			continue
		}
		if run.Gate(g.Name, g.Digest).Verdict == eventlog.GateNone {
			return pause(v1alpha1.ReasonGateUnanswered, fmt.Sprintf("%s; mend that and resume, or promote to go on without", g.Tells(run)))
		}
		return pause(v1alpha1.ReasonGateFailed, fmt.Sprintf("%s; undo, or mend it and resume, or promote to go on all the same", g.Tells(run)))
	}
	return nil, false, nil
}
