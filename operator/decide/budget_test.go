package decide_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fleet.nationtech.io/crds/v1alpha1"
	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/decide"
	"fleet.nationtech.io/projections/fleet"
)

type budgetOption func(*v1alpha1.DisruptionBudget)

func maxUnavailable(v string) budgetOption {
	return func(b *v1alpha1.DisruptionBudget) { n := intstr.Parse(v); b.Spec.MaxUnavailable = &n }
}

func minAvailable(v string) budgetOption {
	return func(b *v1alpha1.DisruptionBudget) { n := intstr.Parse(v); b.Spec.MinAvailable = &n }
}

func groupBy(keys ...string) budgetOption {
	return func(b *v1alpha1.DisruptionBudget) { b.Spec.GroupBy = keys }
}

func selecting(s metav1.LabelSelector) budgetOption {
	return func(b *v1alpha1.DisruptionBudget) { b.Spec.Selector = s }
}

func nextGeneration(b *v1alpha1.DisruptionBudget) { b.Generation++ }

// budget is a DisruptionBudget named racks.
func budget(opts ...budgetOption) *v1alpha1.DisruptionBudget {
	b := &v1alpha1.DisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "racks", UID: types.UID("uid-racks"), Generation: 1},
		Spec:       v1alpha1.DisruptionBudgetSpec{Selector: metav1.LabelSelector{MatchLabels: site}},
	}
	for _, o := range opts {
		o(b)
	}
	return b
}

func (w *world) putBudget(b *v1alpha1.DisruptionBudget) decide.Input {
	w.SetBudget(decide.BudgetSpecOf(b))
	return decide.OfBudget(b.Name)
}

func TestABudgetIsRecordedOnceForEachSpec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	applied := []string{"budget.applied budget.racks"}
	in := w.putBudget(budget(maxUnavailable("1")))
	if spec, _ := w.Budget("racks"); w.BudgetRecorded(spec) {
		t.Error("it is recorded before it is")
	}
	if diff := cmp.Diff(applied, told(w.settle(in, in))); diff != "" {
		t.Errorf("a new one (-want +got):\n%s", diff)
	}
	if again := w.settle(w.putBudget(budget(maxUnavailable("1")))); len(again) > 0 {
		t.Errorf("seen again: %v", told(again))
	}
	changed := budget(minAvailable("80%"), groupBy("rack"), nextGeneration)
	if diff := cmp.Diff(applied, told(w.settle(w.putBudget(changed)))); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	want := eventlog.Budget{
		UID: "uid-racks", Generation: 2, Selector: eventlog.Selector{MatchLabels: site},
		MinAvailable: &eventlog.Amount{N: 80, Percent: true}, GroupBy: []string{"rack"},
	}
	if diff := cmp.Diff(want, w.View().Budgets["racks"].Budget); diff != "" {
		t.Errorf("in the log (-want +got):\n%s", diff)
	}
	if spec, _ := w.Budget("racks"); !w.BudgetRecorded(spec) {
		t.Error("it is not known as recorded")
	}
}

func TestTheLogTellsADeletionThatWasSeenFromABudgetThatIsMissing(t *testing.T) {
	t.Parallel()
	deleted := []string{"budget.deleted budget.racks"}
	for name, tt := range map[string]struct {
		gone  func(*world)
		after *fleet.Budget // what the log knows then, but for when
	}{
		"a deletion that was seen": {func(w *world) { w.RemoveBudget("racks", true) }, nil},
		"missing":                  {func(w *world) { w.RemoveBudget("racks", false) }, &fleet.Budget{Missing: true}},
		"seen by a leader that died, and missing for the next": {func(w *world) { w.State = decide.NewState(w.View()) }, &fleet.Budget{Missing: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.settle(w.putBudget(budget(maxUnavailable("1"))))
			tt.gone(w)
			in := decide.OfBudget("racks")
			if diff := cmp.Diff(deleted, told(w.settle(in, in))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			b := w.View().Budgets["racks"]
			if (b == nil) != (tt.after == nil) || b != nil && (b.Missing != tt.after.Missing || b.Binds()) {
				t.Errorf("the log has %+v, want %+v", b, tt.after)
			}
			if diff := cmp.Diff([]string{"budget.applied budget.racks"}, told(w.settle(w.putBudget(budget(maxUnavailable("1")))))); diff != "" {
				t.Errorf("it is back (-want +got):\n%s", diff)
			}
			w.RemoveBudget("racks", true)
			w.settle(in)
			if b := w.View().Budgets["racks"]; b != nil {
				t.Errorf("back and deleted, the log has %+v", b)
			}
		})
	}
}

// What the API refuses may have been stored before a rule existed: it is recorded with
// what is wrong with it, and binds nothing.
func TestABudgetThatCannotBeUsedIsRecordedWithItsProblemAndBindsNothing(t *testing.T) {
	t.Parallel()
	var many []string
	for range 300 {
		many = append(many, strings.Repeat("v", 63))
	}
	for name, tt := range map[string]struct {
		opts   []budgetOption
		reason string
		says   string
	}{
		"no number":         {nil, v1alpha1.ReasonInvalidBudget, "exactly one of spec.maxUnavailable and spec.minAvailable"},
		"two numbers":       {[]budgetOption{maxUnavailable("1"), minAvailable("1")}, v1alpha1.ReasonInvalidBudget, "exactly one of spec.maxUnavailable and spec.minAvailable"},
		"an odd number":     {[]budgetOption{maxUnavailable("half")}, v1alpha1.ReasonInvalidBudget, `spec.maxUnavailable: "half" is neither a number of devices nor a percentage`},
		"an empty selector": {[]budgetOption{maxUnavailable("1"), selecting(metav1.LabelSelector{})}, v1alpha1.ReasonInvalidSelector, "spec.selector is empty"},
		"an odd operator": {[]budgetOption{maxUnavailable("1"), selecting(metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}},
		})}, v1alpha1.ReasonInvalidSelector, "spec.selector: "},
		"a selector of 20 KB": {[]budgetOption{maxUnavailable("1"), selecting(metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpIn, Values: many}},
		})}, v1alpha1.ReasonTooLarge, "select by fewer values"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.settle(w.label("pi-01", "site", "lab"), w.putBudget(budget(maxUnavailable("1"))))
			in := w.putBudget(budget(append(tt.opts, nextGeneration)...))
			if diff := cmp.Diff([]string{"budget.applied budget.racks"}, told(w.settle(in, in))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			spec, _ := w.Budget("racks")
			if spec.Problem == nil || spec.Problem.Reason != tt.reason || !strings.Contains(spec.Problem.Message, tt.says) {
				t.Errorf("problem %+v, want %s: %s", spec.Problem, tt.reason, tt.says)
			}
			if b := w.View().Budgets["racks"]; b == nil || b.Binds() || b.Problem != spec.Problem.Message {
				t.Errorf("the log has %+v", b)
			}
			if use, binds := w.BudgetUse("racks"); binds {
				t.Errorf("it binds %+v", use)
			}
		})
	}
}

func TestABudgetWhoseNameIsNoneIsNotRecordedAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := budget(maxUnavailable("1"))
	b.Name = "a.b"
	if due := w.settle(w.putBudget(b)); len(due) > 0 {
		t.Errorf("due: %v", told(due))
	}
	if spec, _ := w.Budget("a.b"); spec.Problem == nil || !strings.Contains(spec.Problem.Message, "no dots") {
		t.Errorf("problem: %+v", spec.Problem)
	}
}

func TestHowMuchOfABudgetIsUsed(t *testing.T) {
	t.Parallel()
	rack := func(w *world, id, rack string) decide.Input { return w.label(id, "site", "lab", "rack", rack) }
	fill := func(w *world) {
		for _, in := range []decide.Input{
			rack(w, "a-1", "a"), rack(w, "a-2", "a"), rack(w, "a-3", "a"), rack(w, "b-1", "b"), rack(w, "b-2", "b"),
			w.label("bare", "site", "lab"), w.label("elsewhere", "site", "hall"),
		} {
			w.tell(eventlog.DeviceSubject(in.Device), eventlog.DeviceOnline, eventlog.Presence{Reason: "PulseReceived"})
			w.settle(in)
		}
	}
	for name, tt := range map[string]struct {
		opts []budgetOption
		want decide.BudgetUse
	}{
		"a number, without groups":             {[]budgetOption{maxUnavailable("2")}, decide.BudgetUse{Matched: 6, Groups: 1, Allowed: 2, Remaining: 2}},
		"a percentage rounds up":               {[]budgetOption{maxUnavailable("20%")}, decide.BudgetUse{Matched: 6, Groups: 1, Allowed: 2, Remaining: 2}},
		"so many must be up":                   {[]budgetOption{minAvailable("5")}, decide.BudgetUse{Matched: 6, Groups: 1, Allowed: 1, Remaining: 1}},
		"more must be up than there are":       {[]budgetOption{minAvailable("9")}, decide.BudgetUse{Matched: 6, Groups: 1}},
		"none may be down":                     {[]budgetOption{maxUnavailable("0")}, decide.BudgetUse{Matched: 6, Groups: 1}},
		"a label that is missing is a group":   {[]budgetOption{maxUnavailable("1"), groupBy("rack")}, decide.BudgetUse{Matched: 6, Groups: 3, Allowed: 1, Remaining: 1, Tightest: map[string]string{"rack": ""}}},
		"the tightest group is the one of all": {[]budgetOption{minAvailable("2"), groupBy("rack")}, decide.BudgetUse{Matched: 6, Groups: 3, Tightest: map[string]string{"rack": ""}}},
		"it selects nobody":                    {[]budgetOption{maxUnavailable("1"), selecting(metav1.LabelSelector{MatchLabels: map[string]string{"site": "moon"}})}, decide.BudgetUse{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			fill(w)
			w.settle(w.putBudget(budget(tt.opts...)))
			got, binds := w.BudgetUse("racks")
			if diff := cmp.Diff(tt.want, got); diff != "" || !binds {
				t.Errorf("binds %v (-want +got):\n%s", binds, diff)
			}
		})
	}
}

// A rollout waits where a budget is used up, and the budget says who waits.
func TestABudgetSaysWhoWaitsForIt(t *testing.T) {
	t.Parallel()
	s := newShow(t, 9)
	s.settle(s.putBudget(budget(maxUnavailable("2"))))
	const all = `{"batches":[{}],"maxUnavailable":"100%"}`
	s.apply("app:1", all)
	s.pass(time.Minute)
	s.apply("app:2", all) // the devices say nothing of it
	s.pass(time.Second)
	use, _ := s.BudgetUse("racks")
	if use.Down != 2 || use.Remaining != 0 || use.Blocked != 7 || len(use.Examples) != 5 || !slices.IsSorted(use.Examples) {
		t.Errorf("used up: %+v", use)
	}
	s.settle(s.putBudget(budget(maxUnavailable("4"), nextGeneration)))
	if use, _ := s.BudgetUse("racks"); use.Down != 4 || use.Blocked != 5 {
		t.Errorf("with a larger budget: %+v", use)
	}
	s.RemoveBudget("racks", true)
	s.settle(decide.OfBudget("racks"))
	if use, binds := s.BudgetUse("racks"); binds {
		t.Errorf("without the budget: %+v", use)
	}
	if d := s.View().Deployments[key("a/web")]; d.Counts.Updated != 0 || given(d, 2) != 9 {
		t.Errorf("%d of 9 devices were given revision 2", given(d, 2))
	}
}

// given counts the devices that were given a revision.
func given(d *fleet.Deployment, revision uint64) (n int) {
	for p := range d.Assigned {
		if p.Desired.Revision == revision {
			n++
		}
	}
	return n
}
