package decide

import (
	"fmt"
	"strconv"
	"strings"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

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
