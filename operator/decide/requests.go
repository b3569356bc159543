package decide

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Reasons why a request about a rollout is refused.
const (
	ReasonOutdated       = "Outdated"       // it speaks of another revision, run or batch than the present one
	ReasonNothingToDo    = "NothingToDo"    // it asks for what is so already
	ReasonNotPossible    = "NotPossible"    // what it asks for is not possible in this phase
	ReasonFourEyes       = "FourEyes"       // the batch wants two persons, whom Kubernetes alone can tell apart
	ReasonUnknownContent = "UnknownContent" // what the revision said is not kept any more
)

// answerRequest (R1 to R8): the oldest open request about a rollout is answered before
// anything else is decided.
func answerRequest(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.log == nil || len(c.log.Requests) == 0 || c.log.Lifecycle == fleet.Deleted {
		return nil, false, nil
	}
	return c.answer(&c.log.Requests[0])
}

// answer gives the event that answers a request about a Deployment that the log knows.
func (c deploymentCase) answer(q *fleet.Request) ([]eventlog.Draft, bool, error) {
	if !c.exists || c.log.Lifecycle != fleet.Applied {
		return c.refuseRequest(q, ReasonCRMissing, "the Deployment's object is missing; apply it again, or end it by fleetctl withdraw")
	}
	switch q.Verb {
	case eventlog.RequestPause:
		if c.log.Hold != nil {
			return c.refuseRequest(q, ReasonNothingToDo, "the rollout is on hold already")
		}
		return c.answered(eventlog.RolloutPaused, eventlog.Rollout{Reason: ReasonRequested}, q)
	case eventlog.RequestResume, eventlog.RequestRetryFailed:
		if why := c.outdated(q, true); why != "" {
			return c.refuseRequest(q, ReasonOutdated, why)
		}
		if c.log.Hold == nil && c.log.Run.Phase != fleet.PhasePaused {
			return c.refuseRequest(q, ReasonNothingToDo, "the rollout is neither on hold nor paused")
		}
		return c.answered(eventlog.RolloutResumed, eventlog.Rollout{Reason: ReasonRequested}, q)
	case eventlog.RequestPromote:
		return c.promote(q)
	case eventlog.RequestAbort:
		return c.abort(q)
	case eventlog.RequestUndo:
		return c.undo(q)
	case eventlog.RequestRetry:
		return c.retry(q)
	case eventlog.RequestRestart:
		return c.restart(q)
	}
	return c.refuseRequest(q, ReasonNotPossible, fmt.Sprintf("the operator does not know the verb %q", q.Verb))
}

// answerOrphans: what is asked about a Deployment without an object is refused, too.
func answerOrphans(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.exists {
		return nil, false, nil
	}
	return answerRequest(c)
}

func (c deploymentCase) refuseRequest(q *fleet.Request, reason, message string) ([]eventlog.Draft, bool, error) {
	return c.answered(eventlog.RolloutRequestRefused, eventlog.Rollout{Reason: reason, Message: message}, q)
}

// outdated says what is no longer as the author of a request saw it; empty: nothing.
func (c deploymentCase) outdated(q *fleet.Request, batch bool) string {
	run := &c.log.Run
	switch {
	case q.Revision != c.log.Spec.Revision:
		return fmt.Sprintf("it speaks of revision %d, and the spec is at revision %d", q.Revision, c.log.Spec.Revision)
	case q.Run != run.ID:
		return fmt.Sprintf("it speaks of run %d, and the present one is %d", q.Run, run.ID)
	case batch && q.Batch != run.Batch:
		return fmt.Sprintf("it speaks of batch %d, and the open one is %d", q.Batch, run.Batch)
	}
	return ""
}

// onItsWay says whether an update or a restart moves or is paused.
func (c deploymentCase) onItsWay() bool {
	p := c.log.Run.Phase
	return c.log.Run.ID > 0 && c.log.Run.Kind != eventlog.RunRollback && (p == fleet.PhaseProgressing || p == fleet.PhasePaused)
}

func (c deploymentCase) promote(q *fleet.Request) ([]eventlog.Draft, bool, error) {
	if why := c.outdated(q, true); why != "" {
		return c.refuseRequest(q, ReasonOutdated, why)
	}
	if !c.onItsWay() || c.place == nil {
		return c.refuseRequest(q, ReasonNotPossible, "no update is on its way")
	}
	if c.place.set.Batch(&c.log.Run, c.log.Run.Batch).FourEyes || q.Full && c.wantsFourEyes() {
		return c.refuseRequest(q, ReasonFourEyes, "the batch wants a second person's approval, whom Kubernetes alone can tell from the first: annotate the Deployment instead")
	}
	return c.answered(eventlog.RolloutPromoted, eventlog.Rollout{Reason: ReasonRequested, Batch: c.log.Run.Batch, Full: q.Full}, q)
}

func (c deploymentCase) abort(q *fleet.Request) ([]eventlog.Draft, bool, error) {
	if why := c.outdated(q, false); why != "" {
		return c.refuseRequest(q, ReasonOutdated, why)
	}
	if !c.onItsWay() {
		return c.refuseRequest(q, ReasonNotPossible, "no update is on its way")
	}
	return c.answered(eventlog.RolloutAborted, eventlog.Rollout{Reason: ReasonRequested}, q)
}

// undo (R5, R6).
func (c deploymentCase) undo(q *fleet.Request) ([]eventlog.Draft, bool, error) {
	d, run := c.log, &c.log.Run
	if why := c.outdated(q, false); why != "" {
		return c.refuseRequest(q, ReasonOutdated, why)
	}
	if c.place == nil || run.ID == 0 {
		return c.refuseRequest(q, ReasonNotPossible, "there is no rollout to undo")
	}
	if q.ToRevision == 0 && d.Rejected == d.Spec.ScoreHash && run.Target.Content != d.Spec.ScoreHash { // the undo of an undo
		return c.start(startOf{target: d.SpecTarget(), reason: ReasonRequested, request: q})
	}
	to := d.Stable
	if run.Phase == fleet.PhaseCompleted {
		to = d.Before
	}
	if q.ToRevision > 0 {
		content, ok := d.Content(q.ToRevision)
		if !ok {
			return c.refuseRequest(q, ReasonUnknownContent, fmt.Sprintf(
				"what revision %d said is not kept, the last %d are; apply its manifest instead", q.ToRevision, fleet.MaxContents))
		}
		to = fleet.Target{Revision: content.Revision, Content: content.Hash, Hash: content.Hash, Score: content.Score}
	}
	switch to.Content {
	case "":
		return c.refuseRequest(q, v1alpha1.ReasonNothingToRollBackTo, "no earlier revision completed; name one by --to-revision")
	case d.Spec.ScoreHash:
		return c.refuseRequest(q, ReasonNothingToDo, "that is what the spec says")
	}
	return c.start(startOf{target: to, kind: eventlog.RunRollback, reason: ReasonRequested, request: q})
}

func (c deploymentCase) retry(q *fleet.Request) ([]eventlog.Draft, bool, error) {
	if why := c.outdated(q, false); why != "" {
		return c.refuseRequest(q, ReasonOutdated, why)
	}
	if c.log.Rejected == "" || c.place == nil {
		return c.refuseRequest(q, ReasonNothingToDo, "the spec's content is not refused")
	}
	return c.start(startOf{target: c.log.SpecTarget(), reason: ReasonRequested, request: q})
}

// restart (R7): the target stays, and its containers are made again, in batches.
func (c deploymentCase) restart(q *fleet.Request) ([]eventlog.Draft, bool, error) {
	if why := c.outdated(q, false); why != "" {
		return c.refuseRequest(q, ReasonOutdated, why)
	}
	run := &c.log.Run
	through := run.Phase == fleet.PhaseCompleted || run.Phase == fleet.PhaseRolledBack || run.Phase == fleet.PhaseAborted && run.Kind == eventlog.RunRestart
	if c.place == nil || !through {
		return c.refuseRequest(q, ReasonNotPossible, "a rollout is on its way; restart once it is through")
	}
	target := run.Target
	number := target.Restart + 1
	score, err := restarted(target.Score, number)
	if err != nil {
		return nil, true, err
	}
	target.Score, target.Hash = score, eventlog.Hash(score)
	return c.start(startOf{target: target, kind: eventlog.RunRestart, reason: ReasonRequested, request: q, restart: number})
}

// Refusal is why the operator refuses a request.
type Refusal struct {
	Reason  string // one of the constants, or of v1alpha1's
	Message string
}

// Refusal gives what the operator would say to a request about a Deployment's rollout, if it
// were made now: nil where the operator would do what it asks for. The operator's own rules
// answer, so that what a page offers is what the operator does. The log must know the
// Deployment.
func (s *State) Refusal(key fleet.Key, q eventlog.Request, now time.Time) *Refusal {
	c := s.deploymentCase(key, now)
	due, _, err := c.answer(&fleet.Request{Request: q})
	if err != nil {
		return &Refusal{Reason: ReasonNotPossible, Message: err.Error()}
	}
	if len(due) == 0 || due[0].Type != eventlog.RolloutRequestRefused {
		return nil
	}
	r, err := eventlog.Payload[eventlog.Rollout](eventlog.Event{Type: due[0].Type, Version: due[0].Type.Version(), Data: due[0].Data})
	if err != nil {
		return &Refusal{Reason: ReasonNotPossible, Message: err.Error()}
	}
	return &Refusal{Reason: r.Reason, Message: r.Message}
}

// Promotion is what a CR's annotation lets go on, and who set it.
type Promotion struct {
	Revision, Run uint64
	Batch         int
	By            string // by the API server's policy; empty: it stamped nobody
}

// promotionOf reads the annotation; one that is no promotion promotes nothing.
func promotionOf(d *v1alpha1.Deployment) *Promotion {
	parts := strings.Split(d.Annotations[v1alpha1.AnnotationPromote], ".")
	if len(parts) != 3 {
		return nil
	}
	revision, err1 := strconv.ParseUint(parts[0], 10, 64)
	run, err2 := strconv.ParseUint(parts[1], 10, 64)
	batch, err3 := strconv.Atoi(parts[2])
	if err1 != nil || err2 != nil || err3 != nil {
		return nil
	}
	return &Promotion{Revision: revision, Run: run, Batch: batch, By: clip(d.Annotations[v1alpha1.AnnotationPromotedBy], maxRequester)}
}

// Promotes says whether the CR's annotation speaks of the batch that is open, and why
// it does not count; empty: it does.
//
// Both names are the API server's, stamped by one policy. A user of NATS is never
// compared with one of Kubernetes.
func (s Spec) Promotes(d *fleet.Deployment, fourEyes bool) (promotes bool, why string) {
	p := s.Promotion
	if p == nil || p.Revision != d.Spec.Revision || p.Run != d.Run.ID || p.Batch != d.Run.Batch {
		return false, ""
	}
	switch {
	case !fourEyes:
		return true, ""
	case p.By == "":
		return true, "the API server stamped nobody as the one who promoted it: the policy promoted-by.fleet.nationtech.io must be in force"
	case s.AuthoredBy == "":
		return true, "the API server stamped nobody as the author of the change: the policy authored-by.fleet.nationtech.io must be in force when the score or the rollout changes"
	case p.By == s.AuthoredBy:
		return true, fmt.Sprintf("%s made the change and promoted it: another person has to", p.By)
	}
	return true, ""
}

// promoteByAnnotation (R3): a batch goes on by the CR's annotation; one with fourEyes by
// that alone, if another person set it than changed the score or the rollout last.
func promoteByAnnotation(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if !c.exists || c.spec.Promotion == nil || c.log == nil || c.log.Lifecycle != fleet.Applied || c.place == nil || !c.onItsWay() || c.log.Run.Let {
		return nil, false, nil
	}
	run := &c.log.Run
	promotes, why := c.spec.Promotes(c.log, c.place.set.Batch(run, run.Batch).FourEyes)
	if !promotes || why != "" {
		return nil, false, nil
	}
	due, stop, err := c.event(eventlog.RolloutPromoted, eventlog.Rollout{Batch: run.Batch, Reason: ReasonRequested})
	for i := range due {
		due[i].Actor = c.spec.Promotion.By
	}
	return due, stop, err
}

// wantsFourEyes says whether a batch from the open one on wants two persons.
func (c deploymentCase) wantsFourEyes() bool {
	run := &c.log.Run
	for n := run.Batch; n <= len(run.Batches); n++ {
		if c.place.set.Batch(run, n).FourEyes {
			return true
		}
	}
	return false
}
