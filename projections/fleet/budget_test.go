package fleet_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
)

func TestWhatTheLogKnowsOfABudget(t *testing.T) {
	t.Parallel()
	two, tenth := eventlog.Amount{N: 2}, eventlog.Amount{N: 10, Percent: true}
	first := eventlog.Budget{UID: "u1", Generation: 1, Selector: eventlog.Selector{MatchLabels: map[string]string{"site": "lab"}}, MaxUnavailable: &two}
	second := first
	second.Generation, second.MaxUnavailable, second.GroupBy = 2, &tenth, []string{"rack"}
	odd := eventlog.Budget{UID: "u1", Generation: 3, Problem: "it has two numbers"}

	applied := func(b eventlog.Budget) func(*story) {
		return func(s *story) { s.draft(eventlog.BudgetSubject("racks"), eventlog.BudgetApplied, b) }
	}
	ended := func(reason string) func(*story) {
		return func(s *story) {
			s.draft(eventlog.BudgetSubject("racks"), eventlog.BudgetDeleted, eventlog.BudgetEnd{UID: "u1", Reason: reason})
		}
	}
	for name, tt := range map[string]struct {
		say   []func(*story)
		want  *fleet.Budget // nil: nothing
		binds bool
	}{
		"one that is applied binds":                   {[]func(*story){applied(first)}, &fleet.Budget{Budget: first}, true},
		"the last spec holds":                         {[]func(*story){applied(first), applied(second)}, &fleet.Budget{Budget: second}, true},
		"one with a problem binds nothing":            {[]func(*story){applied(odd)}, &fleet.Budget{Budget: odd}, false},
		"one that was deleted is forgotten":           {[]func(*story){applied(first), ended(eventlog.ReasonBudgetDeleted)}, nil, false},
		"one that is missing is kept, and binds not":  {[]func(*story){applied(first), ended(eventlog.ReasonBudgetMissing)}, &fleet.Budget{Budget: first, Missing: true}, false},
		"one that is back binds again":                {[]func(*story){applied(first), ended(eventlog.ReasonBudgetMissing), applied(second)}, &fleet.Budget{Budget: second}, true},
		"a deletion of what is missing":               {[]func(*story){applied(first), ended(eventlog.ReasonBudgetMissing), ended(eventlog.ReasonBudgetDeleted)}, nil, false},
		"a deletion of what the log never knew":       {[]func(*story){ended(eventlog.ReasonBudgetMissing)}, nil, false},
		"a payload that cannot be read is left aside": {[]func(*story){applied(first), func(s *story) { s.add(badBudget()) }}, &fleet.Budget{Budget: first}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &story{t: t}
			for _, say := range tt.say {
				say(s)
			}
			v := s.fold(fleet.New())
			got := v.Budgets["racks"]
			if got != nil {
				b := *got
				if b.Applied.Sequence == 0 {
					t.Error("it is not known which event applied it")
				}
				b.Applied = fleet.Mark{}
				got = &b
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got != nil && got.Binds() != tt.binds {
				t.Errorf("binds: %v, want %v", got.Binds(), tt.binds)
			}
		})
	}
}

func badBudget() *nats.Msg {
	m := eventlog.Draft{Subject: eventlog.BudgetSubject("racks"), Type: eventlog.BudgetApplied, Data: []byte(`{"maxUnavailable":"many"}`)}.Message("test", "ID")
	return m
}
