package decide

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/eventlog/score"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/window"
)

// Spec is a Deployment's CR as a decision sees it: parsed once, when it comes.
type Spec struct {
	Key         fleet.Key
	UID         string
	Generation  int64
	Deleting    bool // a deletionTimestamp was observed
	Selector    labels.Selector
	Recorded    eventlog.Selector // the selector as the log keeps it
	Score       []byte            // canonical JSON (RFC 8785)
	Hash        string            // of Score
	Strategy    string
	Rollout     json.RawMessage
	ChangeCause string
	// Requested is who last changed the spec, Explained who last said why.
	Requested eventlog.Requester
	Explained eventlog.Requester
	// AuthoredBy is who last changed the score or the rollout, by the API server's
	// policy; empty: it stamped nobody.
	AuthoredBy string
	Promotion  *Promotion // nil: the CR has none
	// Traceparent is the trace that the author gave; empty: none.
	Traceparent string
	// Unknown names the fields of the score that this version does not know, a
	// sentence each. They are kept, and sent to the devices.
	Unknown []string
	// Problem says why nothing of it can be assigned; nil when all is well.
	Problem *Problem

	selects string // Selector as text: what differs there, differs in what it selects
}

// Problem is what is wrong with an object, for a condition of it.
type Problem struct {
	Reason  string
	Message string
}

func (p *Problem) Error() string { return p.Message }

// AnnotationChangeCause is kubectl's own way of saying why.
const AnnotationChangeCause = "kubernetes.io/change-cause"

// SpecOf reads a CR. What cannot be used comes back as the Spec's Problem, so
// that the person sees it in the CR's condition and the rest goes on.
func SpecOf(d *v1alpha1.Deployment) Spec {
	s := Spec{
		Key:         fleet.Key{Namespace: d.Namespace, Name: d.Name},
		UID:         string(d.UID),
		Generation:  d.Generation,
		Deleting:    d.DeletionTimestamp != nil,
		Recorded:    recorded(d.Spec.TargetSelector),
		Strategy:    string(d.Spec.Rollout.Strategy),
		ChangeCause: clipChangeCause(d.Annotations[AnnotationChangeCause]),
		Requested:   requester(d),
		Explained:   lastManager(d.ManagedFields, fieldsOf.changeCause),
		AuthoredBy:  clip(d.Annotations[v1alpha1.AnnotationAuthoredBy], maxRequester),
		Promotion:   promotionOf(d),
		Traceparent: givenTrace(d.Annotations),
	}
	if s.Strategy == "" {
		s.Strategy = rollout.DefaultStrategy
	}
	s.Selector, s.Problem = readSelector(d.Spec.TargetSelector)
	if err := s.readScore(d); err != nil {
		s.Problem = problemOfScore(err)
		s.Selector = labels.Nothing()
	}
	if p := checkSelector(s.Recorded); p != nil {
		s.Problem, s.Selector, s.Score = p, labels.Nothing(), nil
	}
	return s
}

func problemOfScore(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	problem := &Problem{Reason: v1alpha1.ReasonUnsupportedScore, Message: clip(err.Error(), maxProblem)}
	if refusal := (*score.Refusal)(nil); errors.As(err, &refusal) {
		problem.Reason = refusal.Reason
	}
	return problem
}

// readScore fails with what makes the score one that cannot be assigned. Without a
// Score nothing of the CR goes into the log: what has a name that is none would not
// be understood there, and be said again and again.
func (s *Spec) readScore(d *v1alpha1.Deployment) error {
	if err := eventlog.CheckName("Deployment", d.Name); err != nil {
		return err
	}
	said, err := json.Marshal(d.Spec.Rollout)
	if err != nil {
		return fmt.Errorf("encode spec.rollout: %w", err)
	}
	if len(said) > MaxRollout {
		return &Problem{Reason: v1alpha1.ReasonTooLarge, Message: fmt.Sprintf(
			"spec.rollout is %d bytes as JSON; at most %d fit into the event log: let the batches select by fewer labels, and shorten the queries of gates", len(said), MaxRollout)}
	}
	if problem := problemOfRollout(said); problem != nil {
		return problem
	}
	if string(said) != "{}" { // what its author did not say is not recorded
		s.Rollout = said
	}
	raw, err := json.Marshal(d.Spec.Score)
	if err != nil {
		return fmt.Errorf("encode spec.score: %w", err)
	}
	tagged, err := eventlog.DecodeScore(raw)
	if err != nil {
		return err
	}
	canonical, err := tagged.Canonical()
	if err != nil {
		return err
	}
	if len(canonical) > v1alpha1.MaxScoreBytes {
		return &Problem{Reason: v1alpha1.ReasonTooLarge, Message: fmt.Sprintf(
			"the score is %d bytes as canonical JSON; at most %d fit into the event log: move large configs out of it", len(canonical), v1alpha1.MaxScoreBytes)}
	}
	s.Score, s.Hash = canonical, eventlog.Hash(canonical)
	if d.Spec.Score.Type != v1alpha1.ScorePodmanV0 {
		return fmt.Errorf("score type %q is not known to this operator; it knows %s", d.Spec.Score.Type, v1alpha1.ScorePodmanV0)
	}
	s.Unknown = score.Unknown(canonical)
	// What the devices would refuse goes to none of them. The API refuses it too,
	// unless it was stored before a rule was there.
	return score.CheckAuthored(canonical)
}

// problemOfRollout says what the schema could not check of spec.rollout; nil: all is well.
func problemOfRollout(said []byte) *Problem {
	var settings eventlog.RolloutSettings
	if err := json.Unmarshal(said, &settings); err != nil {
		return &Problem{Reason: v1alpha1.ReasonInvalidRollout, Message: clip("spec.rollout: "+err.Error(), maxProblem)}
	}
	if _, err := window.ParseAll(settings.Windows); err != nil {
		return &Problem{Reason: v1alpha1.ReasonInvalidRollout, Message: clip("spec.rollout."+err.Error(), maxProblem)}
	}
	if err := rollout.CheckGates(settings.Batches); err != nil {
		return &Problem{Reason: v1alpha1.ReasonInvalidRollout, Message: clip("spec.rollout."+err.Error(), maxProblem)}
	}
	return nil
}

// readSelector gives the selector, or what is wrong with it.
func readSelector(sel metav1.LabelSelector) (labels.Selector, *Problem) {
	parsed, err := metav1.LabelSelectorAsSelector(&sel)
	switch {
	case err != nil:
		return labels.Nothing(), &Problem{Reason: v1alpha1.ReasonInvalidSelector, Message: err.Error()}
	case parsed.Empty():
		return labels.Nothing(), &Problem{
			Reason: v1alpha1.ReasonInvalidSelector,
			Message: "spec.targetSelector is empty; to mean every device, write matchExpressions: [{key: " +
				v1alpha1.LabelDevice + ", operator: Exists}]",
		}
	}
	return parsed, nil
}

// LabelSelectorOf gives a selector that the log recorded as Kubernetes writes it.
func LabelSelectorOf(sel eventlog.Selector) metav1.LabelSelector {
	s := metav1.LabelSelector{MatchLabels: sel.MatchLabels}
	for _, r := range sel.MatchExpressions {
		s.MatchExpressions = append(s.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: r.Key, Operator: metav1.LabelSelectorOperator(r.Operator), Values: slices.Clone(r.Values),
		})
	}
	return s
}

func recorded(sel metav1.LabelSelector) eventlog.Selector {
	r := eventlog.Selector{MatchLabels: sel.MatchLabels}
	for _, e := range sel.MatchExpressions {
		r.MatchExpressions = append(r.MatchExpressions, eventlog.SelectorRequirement{
			Key: e.Key, Operator: string(e.Operator), Values: e.Values,
		})
	}
	return r
}
