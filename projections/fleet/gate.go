package fleet

import (
	"slices"
	"time"

	"fleet.nationtech.io/eventlog"
)

// GateState is how a gate of the open batch was answered.
type GateState struct {
	eventlog.GateAnswer
	Answers int       // about the open batch
	Since   time.Time // when the stretch of answers began that pass, or that do not
	Last    time.Time
}

// Passes says whether the last answer lets the batch go on.
func (g *GateState) Passes() bool { return g.Verdict == eventlog.GatePass }

// Stale says whether the last answer is too old to say how the gate is.
func (g *GateState) Stale(at time.Time) bool { return at.Sub(g.Last) > 2*time.Duration(g.Every) }

// Gate gives how a gate of the open batch was answered; nil: it was not, or its
// definition was another one.
func (r *Run) Gate(name, digest string) *GateState {
	for i := range r.Gates {
		if g := &r.Gates[i]; g.Name == name && g.Digest == digest {
			return g
		}
	}
	return nil
}

// measure notes an answer about a gate of the open batch.
func (r *Run) measure(a eventlog.GateAnswer, at time.Time) {
	g := r.Gate(a.Name, a.Digest)
	if g == nil {
		if len(r.Gates) >= maxGates {
			oldest := 0
			for i := range r.Gates {
				if r.Gates[i].Last.Before(r.Gates[oldest].Last) {
					oldest = i
				}
			}
			r.Gates = slices.Delete(r.Gates, oldest, oldest+1)
		}
		r.Gates = append(r.Gates, GateState{GateAnswer: a})
		g = &r.Gates[len(r.Gates)-1]
	}
	if g.Answers == 0 || g.Passes() != (a.Verdict == eventlog.GatePass) || g.Stale(at) {
		g.Since = at
	}
	g.GateAnswer, g.Last = a, at
	g.Answers++
}

// maxGates bounds the gates of a batch whose answers are kept: more than a batch has, as
// definitions may change while it is open. Beyond that the answer that is the oldest is
// forgotten.
const maxGates = 32
