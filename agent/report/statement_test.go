package report

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestStatement(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	tests := map[string]struct {
		do      func(s *statement) bool
		pending bool
	}{
		"nothing said is nothing to say": {func(*statement) bool { return false }, false},
		"news is pending":                {func(s *statement) bool { return !s.say("a", []byte("a"), "", at) }, true},
		"the same again is no news": {func(s *statement) bool {
			s.say("a", []byte("a"), "", at)
			return s.say("a", []byte("later"), "", at.Add(time.Second))
		}, true},
		"what was taken back before it was sent is not sent": {func(s *statement) bool {
			s.said, s.content = "a", "a"
			s.say("b", []byte("b"), "", at)
			return s.say("a", []byte("a"), "", at)
		}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s statement
			if tc.do(&s) {
				t.Error("say told the wrong thing")
			}
			if s.pending() != tc.pending {
				t.Errorf("pending %v, want %v", s.pending(), tc.pending)
			}
		})
	}
}

// However a Deployment flaps, what is sent of it stays within one a second, and
// over time within the budget.
func TestNoFlappingExceedsTheBudget(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(1000, 0)
		now := start
		s := statement{budget: budget{burst: stateBurst, refill: stateRefill}}
		sent := 0
		var last time.Time
		for range rapid.IntRange(1, 400).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
			due := s.due(now)
			if due.After(now) {
				later := s // a copy: to look does not pass the time
				if again := later.due(due); again.After(due) {
					t.Fatalf("due at %v, and then only at %v", due, again)
				}
				continue
			}
			if !last.IsZero() && now.Sub(last) < stateSpacing {
				t.Fatalf("two in %v", now.Sub(last))
			}
			if !s.budget.spend(now) {
				t.Fatal("due, but over the budget")
			}
			s.next, last = now.Add(stateSpacing), now
			sent++
		}
		if most := stateBurst + int(now.Sub(start)/stateRefill) + 1; sent > most {
			t.Fatalf("%d sent in %v, the budget is %d", sent, now.Sub(start), most)
		}
	})
}

// A person who changes a Deployment again and again sees each change reported at the
// pace of one a second: what flapped before does not hold up the next assignment.
func TestANewAssignmentIsReportedAtOnceHoweverMuchWasSaidBefore(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	s := statement{budget: budget{burst: stateBurst, refill: stateRefill}}
	for s.budget.spend(now) { // it flapped
	}
	for assignment := range 10 {
		s.budget.grant(assignmentGrant, now)
		for step := range assignmentGrant {
			if wait := s.budget.wait(now); wait > 0 {
				t.Fatalf("assignment %d: state %d waits for %v", assignment, step, wait)
			}
			s.budget.spend(now)
			now = now.Add(stateSpacing)
		}
	}
	left := 0
	for s.budget.spend(now) {
		left++
	}
	if left > assignmentGrant { // what the seconds gave back meanwhile
		t.Errorf("the last assignment may flap %d times more, at once", left)
	}
}
