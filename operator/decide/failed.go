package decide

import (
	"errors"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// ProblemOf gives what to tell a person of an error of Decide, or of the append of
// what it decided.
func ProblemOf(err error) Problem {
	var p *Problem
	if errors.As(err, &p) {
		return *p
	}
	return Problem{Reason: v1alpha1.ReasonDecisionFailed, Message: clip(
		"the operator cannot record what follows from this object: "+err.Error()+". It tries again when the object changes", maxProblem)}
}

// MarkFailed notes that the decision about an input failed: nothing of it is
// settled. It says whether that is news. It holds until the input is decided, or
// its object changes.
func (s *State) MarkFailed(in Input, p Problem) (news bool) {
	old, ok := s.failed[in]
	s.failed[in] = p
	return !ok || old != p
}

// ClearFailed notes that the decision about an input succeeded.
func (s *State) ClearFailed(in Input) { delete(s.failed, in) }

// Failure says why the last decision about a Deployment failed; nil: it did not.
func (s *State) Failure(key fleet.Key) *Problem {
	for _, in := range [...]Input{OfDeployment(key), OfProgress(key)} {
		if p, ok := s.failed[in]; ok {
			return &p
		}
	}
	return nil
}

// DeviceFailure says why the last decision about a device failed; nil: it did not.
func (s *State) DeviceFailure(id string) *Problem {
	if p, ok := s.failed[OfDevice(id)]; ok {
		return &p
	}
	return nil
}

// Refuse gives the event that records why the decision about an input failed, so
// that all who read the log say the same as the custom resource. It gives none where
// the log says it already, and for what is no Deployment.
func Refuse(s *State, in Input, p Problem, now time.Time) ([]eventlog.Draft, error) {
	c := s.deploymentCase(in.Deployment, now)
	if !c.exists || c.spec.Deleting {
		return nil, nil
	}
	due, _, err := c.refusal(p)
	return due, err
}

// refusal records a problem of the present spec, once.
func (c deploymentCase) refusal(p Problem) ([]eventlog.Draft, bool, error) {
	r := eventlog.Refusal{UID: c.spec.UID, Generation: c.spec.Generation, Reason: p.Reason, Message: p.Message}
	known := c.log != nil && c.log.Refused != nil && *c.log.Refused == r
	if known || !recordable(c.key) {
		return nil, true, nil
	}
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(c.key.Namespace, c.key.Name), eventlog.DeploymentRefused, c.now, r)
	d.Actor = actor(c.spec.Requested)
	return []eventlog.Draft{d}, true, err
}

// forgetRefused: of a CR that was refused and is gone, nothing is on devices; the
// log learns that it is gone.
func forgetRefused(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.log == nil || c.log.Refused == nil || c.exists && !c.spec.Deleting || c.log.Lifecycle == fleet.Applied || c.log.Lifecycle == fleet.Orphaned {
		return nil, false, nil
	}
	reason := ReasonCRMissing
	if c.exists {
		reason = ReasonCRDeleted
	}
	due, stop, err := c.ending(eventlog.DeploymentDeleted, reason, "")
	for i := range due {
		due[i].Actor = ActorUnknown // the CR does not say who deleted it
	}
	return due, stop, err
}

// recordable says whether a Deployment's name can be a token of a subject of the log.
func recordable(key fleet.Key) bool { return eventlog.CheckName("Deployment", key.Name) == nil }
