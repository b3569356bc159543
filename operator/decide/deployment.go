package decide

import (
	"slices"
	"strings"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

// Reasons of a Deployment's end and return, as its events carry them.
const (
	// ReasonCRMissing: the CR is not there, though nobody was seen deleting it
	// (etcd lost, another cluster, a finalizer forced off).
	ReasonCRMissing = "CRMissing"
	// ReasonCRDeleted: the CR carries a deletionTimestamp.
	ReasonCRDeleted = "CRDeleted"
	// ReasonCRReturned: an orphan's CR is there again.
	ReasonCRReturned = "CRReturned"
	// ReasonRequested: a person asked for it.
	ReasonRequested = "Requested"
)

// deploymentRules are tried in order; the first that finds something due ends
// the round.
var deploymentRules = []rule[deploymentCase]{
	forgetRefused,
	orphan,
	withdrawOnRequest,
	end,
	answerOrphans,
	emptyEnded,
	adopt,
	promoteByAnnotation,
	answerRequest,
	apply,
	refuse,
	advance,
	assignFirst,
}

// progressRules look at a Deployment whose devices reported.
var progressRules = []rule[deploymentCase]{
	withdrawOnRequest,
	answerOrphans,
	emptyEnded,
	promoteByAnnotation,
	answerRequest,
	advance,
	assignFirst,
}

// orphan: a CR that is simply not there leaves its devices as they are.
func orphan(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.exists || c.log == nil || c.log.Lifecycle != fleet.Applied {
		return nil, false, nil
	}
	return c.ending(eventlog.DeploymentOrphaned, ReasonCRMissing, "")
}

// withdrawOnRequest: a person ends an orphan by `fleetctl withdraw`.
func withdrawOnRequest(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.exists || c.log == nil || c.log.Lifecycle != fleet.Orphaned || c.log.Withdraw == nil {
		return nil, false, nil
	}
	due, stop, err := c.ending(eventlog.DeploymentDeleted, ReasonRequested, causeOf(c.log.Withdraw.Mark))
	for i := range due {
		due[i].Actor = c.log.Withdraw.User
	}
	return due, stop, err
}

// end: only an observed deletionTimestamp ends a Deployment.
func end(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if !c.exists || !c.spec.Deleting {
		return nil, false, nil
	}
	if c.log == nil || c.log.Lifecycle == "" {
		return nil, true, nil // the log never heard of it: nothing to withdraw
	}
	if c.log.Lifecycle == fleet.Deleted {
		return nil, false, nil
	}
	due, stop, err := c.ending(eventlog.DeploymentDeleted, ReasonCRDeleted, "")
	for i := range due {
		due[i].Actor = ActorUnknown // the CR does not say who deleted it
	}
	return due, stop, err
}

// emptyEnded: what a Deployment that ended still holds is withdrawn.
func emptyEnded(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.exists && !c.spec.Deleting {
		return nil, false, nil
	}
	if c.log == nil || c.log.Lifecycle != fleet.Deleted {
		return nil, true, nil
	}
	var due []eventlog.Draft
	for p := range c.log.Assigned {
		due = append(due, c.withdrawn(p, c.log.Changed.ID))
	}
	sortBySubject(due)
	return due, true, nil
}

// adopt: an orphan whose CR is there again goes on as if nothing had been.
func adopt(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.log == nil || c.log.Lifecycle != fleet.Orphaned {
		return nil, false, nil
	}
	return c.ending(eventlog.DeploymentAdopted, ReasonCRReturned, "")
}

// apply: the log learns the spec before anything is done about it. Where only the
// reason of a change was said, it learns that of the same revision.
func apply(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.spec.Score == nil || c.current(c.spec) {
		return nil, false, nil
	}
	revision := uint64(1)
	if c.log != nil && c.log.Spec.Revision > 0 {
		revision = c.log.Spec.Revision
		if c.log.Spec.ScoreHash != c.spec.Hash {
			revision++
		}
	}
	by := c.spec.Requested
	if same(c.log, c.spec) {
		by = c.spec.Explained
	}
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(c.key.Namespace, c.key.Name), eventlog.DeploymentApplied, c.now,
		eventlog.Deployment{
			UID: c.spec.UID, Generation: c.spec.Generation, Revision: revision,
			Selector: c.spec.Recorded, Score: c.spec.Score, ScoreHash: c.spec.Hash,
			Rollout: c.spec.Rollout, ChangeCause: c.spec.ChangeCause, RequestedBy: by,
		})
	d.CorrelationID, d.Actor = correlation(c.key, revision), actor(by)
	return []eventlog.Draft{d}, false, err
}

// refuse: a spec with a problem goes no further, and what its devices run stays.
// Where the log cannot hold the spec, it holds why.
func refuse(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.spec.Problem == nil || c.spec.Score != nil {
		return nil, c.spec.Problem != nil, nil
	}
	return c.refusal(*c.spec.Problem)
}

// advance moves the Deployment's rollout on.
func advance(c deploymentCase) ([]eventlog.Draft, bool, error) {
	for _, row := range rolloutRules {
		due, stop, err := row(c)
		if err != nil || stop || len(due) > 0 {
			return due, err != nil || c.place == nil, err
		}
	}
	return nil, false, nil
}

// assignFirst: each device that matches and has nothing gets what it should have, and one
// that has the right content gets its right number. That upsets nothing, so it waits for
// nothing but what the Deployment depends on; and for its rate, see Release. Where another
// Deployment holds the name, it keeps it.
func assignFirst(c deploymentCase) ([]eventlog.Draft, bool, error) {
	if c.place == nil || !c.current(c.spec) {
		return nil, false, nil
	}
	due := make([]eventlog.Draft, 0, len(c.place.fresh))
	for p := range c.place.fresh {
		if d, ok := c.assignedFirst(p, c.cause()); ok {
			due = append(due, d)
		}
	}
	for p := range c.place.renumber {
		target := c.place.set.Target(c.log, true, p.values.batch)
		if d, ok := c.assigned(p, c.cause(), target, p.batchOf(target)); ok {
			due = append(due, d)
		}
	}
	sortBySubject(due)
	return due, false, nil
}

func (c deploymentCase) assignedFirst(p *place, cause string) (eventlog.Draft, bool) {
	target := c.place.set.Target(c.log, false, p.values.batch)
	return c.assigned(p, cause, target, p.batchOf(target))
}

func (c deploymentCase) withdrawn(p *fleet.Assignment, cause string) eventlog.Draft {
	return eventlog.Draft{
		Subject: eventlog.DesiredSubject(p.Device.ID, p.Name), Type: eventlog.DesiredWithdrawn, Time: c.now,
		CorrelationID: correlation(c.key, p.Desired.Revision), CausationID: cause,
		Namespace: c.key.Namespace, Revision: p.Desired.Revision,
	}
}

func (c deploymentCase) ending(t eventlog.Type, reason, cause string) ([]eventlog.Draft, bool, error) {
	uid := c.spec.UID
	if uid == "" {
		uid = c.log.Spec.UID
	}
	d, err := eventlog.NewDraft(eventlog.DeploymentSubject(c.key.Namespace, c.key.Name), t, c.now,
		eventlog.DeploymentEnd{UID: uid, Reason: reason})
	d.CorrelationID, d.CausationID = correlation(c.key, c.log.Spec.Revision), cause
	return []eventlog.Draft{d}, false, err
}

func sortBySubject(ds []eventlog.Draft) {
	slices.SortFunc(ds, func(a, b eventlog.Draft) int { return strings.Compare(a.Subject, b.Subject) })
}
