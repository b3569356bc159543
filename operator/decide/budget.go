package decide

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
)

// BudgetSpec is a DisruptionBudget's CR as a decision sees it: parsed once, when it
// comes.
type BudgetSpec struct {
	Name       string
	Generation int64
	Selector   labels.Selector
	Recorded   eventlog.Budget // as the log keeps it
	// Problem says why the budget binds nothing; nil when all is well.
	Problem *Problem
}

// BudgetSpecOf reads a CR. What cannot be used comes back as the Problem, so that the
// person sees it in the CR's condition.
func BudgetSpecOf(b *v1alpha1.DisruptionBudget) BudgetSpec {
	s := BudgetSpec{Name: b.Name, Generation: b.Generation, Selector: labels.Nothing()}
	s.Recorded = eventlog.Budget{
		UID: string(b.UID), Generation: b.Generation, Selector: recorded(b.Spec.Selector), GroupBy: slices.Clone(b.Spec.GroupBy),
	}
	s.Problem = s.read(b.Spec)
	if s.Problem != nil {
		s.Problem.Message = clip(s.Problem.Message, maxProblem)
		s.Recorded.Problem = s.Problem.Message
	}
	return s
}

// BudgetSpecOfLog gives a DisruptionBudget as the log recorded it.
func BudgetSpecOfLog(name string, b eventlog.Budget) BudgetSpec {
	s := BudgetSpec{Name: name, Generation: b.Generation, Selector: labels.Nothing(), Recorded: b}
	selector := LabelSelectorOf(b.Selector)
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	switch {
	case b.Problem != "":
		s.Problem = &Problem{Reason: v1alpha1.ReasonInvalidBudget, Message: b.Problem}
	case err != nil:
		s.Problem = &Problem{Reason: v1alpha1.ReasonInvalidSelector, Message: err.Error()}
	default:
		s.Selector = parsed
	}
	return s
}

func (s *BudgetSpec) read(spec v1alpha1.DisruptionBudgetSpec) *Problem {
	if err := eventlog.CheckName("DisruptionBudget", s.Name); err != nil {
		return &Problem{Reason: v1alpha1.ReasonInvalidBudget, Message: err.Error()}
	}
	if size := jsonSize(s.Recorded.Selector); size > MaxSelector {
		s.Recorded.Selector = eventlog.Selector{}
		return &Problem{Reason: v1alpha1.ReasonTooLarge, Message: fmt.Sprintf(
			"spec.selector is %d bytes as JSON; at most %d fit into the event log: select by fewer values, or label the devices and select by that label", size, MaxSelector)}
	}
	var err error
	if s.Recorded.MaxUnavailable, err = amountOf(spec.MaxUnavailable); err != nil {
		return &Problem{Reason: v1alpha1.ReasonInvalidBudget, Message: "spec.maxUnavailable: " + err.Error()}
	}
	if s.Recorded.MinAvailable, err = amountOf(spec.MinAvailable); err != nil {
		return &Problem{Reason: v1alpha1.ReasonInvalidBudget, Message: "spec.minAvailable: " + err.Error()}
	}
	if (spec.MaxUnavailable == nil) == (spec.MinAvailable == nil) {
		return &Problem{Reason: v1alpha1.ReasonInvalidBudget, Message: "a DisruptionBudget has exactly one of spec.maxUnavailable and spec.minAvailable: write one of them"}
	}
	selector, err := metav1.LabelSelectorAsSelector(&spec.Selector)
	switch {
	case err != nil:
		return &Problem{Reason: v1alpha1.ReasonInvalidSelector, Message: "spec.selector: " + err.Error()}
	case selector.Empty():
		return &Problem{Reason: v1alpha1.ReasonInvalidSelector, Message: "spec.selector is empty; to mean every device, write matchExpressions: [{key: " +
			v1alpha1.LabelDevice + ", operator: Exists}]"}
	}
	s.Selector = selector
	return nil
}

func jsonSize(v any) int {
	b, _ := json.Marshal(v) // structs of strings: it does not fail
	return len(b)
}

// amountOf gives the log's form of a number or percentage; nil for nil.
func amountOf(v *intstr.IntOrString) (*eventlog.Amount, error) {
	if v == nil {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	a := &eventlog.Amount{}
	if err := json.Unmarshal(b, a); err != nil {
		return nil, err
	}
	return a, nil
}

// SetBudget notes a DisruptionBudget as the API shows it now. One with a problem binds
// nothing.
func (s *State) SetBudget(spec BudgetSpec) {
	s.budgets[spec.Name] = spec
	delete(s.budgetsDeleted, spec.Name)
	delete(s.failed, OfBudget(spec.Name))
	if spec.Problem != nil {
		s.dropBudget(spec.Name)
		return
	}
	s.putBudget(spec.Name, spec.Selector, spec.Recorded.MaxUnavailable, spec.Recorded.MinAvailable, spec.Recorded.GroupBy)
}

// RemoveBudget notes that a DisruptionBudget is not there: it binds nothing any more.
// deleted says that its deletion was seen.
func (s *State) RemoveBudget(name string, deleted bool) {
	delete(s.budgets, name)
	delete(s.failed, OfBudget(name))
	if deleted {
		s.budgetsDeleted[name] = struct{}{}
	}
	s.dropBudget(name)
}

// Budget gives a DisruptionBudget's spec.
func (s *State) Budget(name string) (BudgetSpec, bool) {
	spec, ok := s.budgets[name]
	return spec, ok
}

// BudgetFailure says why the last decision about a DisruptionBudget failed; nil: it
// did not.
func (s *State) BudgetFailure(name string) *Problem {
	if p, ok := s.failed[OfBudget(name)]; ok {
		return &p
	}
	return nil
}

// BudgetRecorded says whether the log has the spec as the API shows it.
func (s *State) BudgetRecorded(spec BudgetSpec) bool {
	b := s.view.Budgets[spec.Name]
	return b != nil && !b.Missing && sameBudget(b.Budget, spec.Recorded)
}

// sameBudget compares two budgets as the log keeps them.
func sameBudget(a, b eventlog.Budget) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// recordBudget gives what the log lacks of a DisruptionBudget: what binds is the CR, and
// the log says so, that anyone can tell why a device waited.
func recordBudget(s *State, name string, now time.Time) ([]eventlog.Draft, error) {
	if eventlog.CheckName("DisruptionBudget", name) != nil {
		return nil, nil //nolint:nilerr // no subject of the log; its condition says so
	}
	spec, exists := s.budgets[name]
	known := s.view.Budgets[name]
	_, deleted := s.budgetsDeleted[name]
	var d eventlog.Draft
	var err error
	switch {
	case exists && !s.BudgetRecorded(spec):
		d, err = eventlog.NewDraft(eventlog.BudgetSubject(name), eventlog.BudgetApplied, now, spec.Recorded)
	case !exists && known != nil && deleted:
		d, err = eventlog.NewDraft(eventlog.BudgetSubject(name), eventlog.BudgetDeleted, now,
			eventlog.BudgetEnd{UID: known.UID, Reason: eventlog.ReasonBudgetDeleted})
	case !exists && known != nil && !known.Missing:
		d, err = eventlog.NewDraft(eventlog.BudgetSubject(name), eventlog.BudgetDeleted, now,
			eventlog.BudgetEnd{UID: known.UID, Reason: eventlog.ReasonBudgetMissing})
	default:
		return nil, nil
	}
	if known != nil {
		d.CausationID = causeOf(known.Applied)
	}
	return []eventlog.Draft{d}, err
}
