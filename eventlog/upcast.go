package eventlog

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrNewer says that an event's payload is of a version that this program does
// not know and cannot read. It is no foreign message: anyone who wrote it knows
// more. A fold leaves such an event out.
var ErrNewer = errors.New("event is of a newer version than this program reads")

// Version is the newest version of a type's payload that this program knows, and
// the one that it writes. A type begins at 1.
//
// A payload gets a new version when an older reader would understand it wrongly,
// or when a reader of old events has to be told what they do not say; a field
// that may as well be absent needs none. Old versions stay in the log for ever,
// and so does the step that reads them.
//
// The payloads that are a bucket's value keep version 1: their shape is the
// contract's.
func (t Type) Version() int { return len(stepsOf(t)) + 1 }

// step brings a payload from the version that is its place in the list to the
// next one. It has been decoded into the newest struct already, which does for
// fields that were added; where a field changed its name or meaning, the step
// decodes e.Data into the shape of its own version. A payload that was decoded
// into another struct than its type's is left as it is.
type step func(e Event, payload any)

var (
	deploymentAppliedSteps = [...]step{deploymentAppliedTo2}
	rolloutSteps           = [...]step{rolloutTo2}
	requestSteps           = [...]step{requestTo2}
)

func stepsOf(t Type) []step {
	switch t {
	case DeploymentApplied:
		return deploymentAppliedSteps[:]
	case RolloutStarted, RolloutBatchStarted, RolloutBatchSucceeded, RolloutPaused, RolloutResumed,
		RolloutStalled, RolloutAborted, RolloutRolledBack, RolloutCompleted:
		return rolloutSteps[:]
	case RequestMade:
		return requestSteps[:]
	}
	return nil
}

// upcast gives a decoded payload the newest shape, whatever the event's version.
// One that is newer than this program stays as far as it could be read.
func upcast(e Event, payload any) {
	steps := stepsOf(e.Type)
	for v := max(1, e.Version); v <= len(steps); v++ {
		steps[v-1](e, payload)
	}
}

// undecodable is the error of a payload that does not have its type's shape.
func undecodable(e Event, err error) error {
	if e.Version > e.Type.Version() && !e.Type.isBucketValue() {
		return fmt.Errorf("%w: %s: version %d, at most %d: %w", ErrNewer, e.Type, e.Version, e.Type.Version(), err)
	}
	return fmt.Errorf("%w: %s: payload: %w", ErrForeign, e.Type, err)
}

// isBucketValue says whether the payload is a bucket's value, byte for byte.
func (t Type) isBucketValue() bool {
	return t == StateReported || t == InfoReported || t == DesiredAssigned
}

// deploymentAppliedTo2: version 1 did not say who asked, but for an actor that a
// writer may have given; and it wrote <, > and & of a score as escapes, so that
// the score was not the bytes that score_hash speaks of.
func deploymentAppliedTo2(e Event, payload any) {
	d, ok := payload.(*Deployment)
	if !ok {
		return
	}
	d.RequestedBy = Requester{By: RequestedByUnknown}
	if e.Actor != "" {
		d.RequestedBy = Requester{Name: e.Actor, By: RequestedByFieldManager}
	}
	if bytes.Contains(d.Score, []byte(`\u00`)) && Hash(d.Score) != d.ScoreHash {
		if s, err := DecodeScore(d.Score); err == nil {
			if c, err := s.Canonical(); err == nil && Hash(c) == d.ScoreHash {
				d.Score = c
			}
		}
	}
}

// rolloutTo2: version 1 knew Immediate alone, and started a rollout once for each
// revision.
func rolloutTo2(e Event, payload any) {
	if r, ok := payload.(*Rollout); ok && e.Type == RolloutStarted {
		r.Kind = RunImmediate
	}
}

// requestTo2: version 1 knew no rollouts, so it has nothing to fill in.
func requestTo2(Event, any) {}
