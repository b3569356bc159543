package report

import (
	"time"
)

// statement is the newest that is to be said about one thing: the device, or a
// Deployment. What was not sent yet is replaced, so the latest wins.
type statement struct {
	content string // what tells two statements apart; time alone does not
	data    []byte // nil: the key is to leave its bucket
	since   time.Time
	said    string // the content that the log last acknowledged
	next    time.Time
	budget  budget

	assignment  uint64 // the newest that it spoke of
	traceparent string // of what is to be said; empty: it is not traced
}

// pending says whether there is something to say.
func (s *statement) pending() bool { return s.content != s.said }

// say replaces what is to be said and tells whether that is news.
func (s *statement) say(content string, data []byte, traceparent string, now time.Time) bool {
	if s.content == content {
		return false
	}
	s.content, s.data, s.traceparent, s.since = content, data, traceparent, now
	return s.pending()
}

// due gives the moment from which it may be said.
func (s *statement) due(now time.Time) time.Time {
	if wait := s.budget.wait(now); s.next.Before(now.Add(wait)) {
		return now.Add(wait)
	}
	return s.next
}

// budget bounds what is said over time: burst at once, then one per refill. The
// zero budget says everything.
type budget struct {
	burst  int
	refill time.Duration

	spent time.Duration // of the burst, as the time that refills it
	at    time.Time
}

// settle gives back what time has refilled.
func (b *budget) settle(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.spent = max(0, b.spent-passed)
	}
	b.at = now
}

// grant gives some back before their time.
func (b *budget) grant(n int, now time.Time) {
	b.settle(now)
	b.spent = max(0, b.spent-time.Duration(n)*b.refill)
}

// wait is the time until the budget allows one more.
func (b *budget) wait(now time.Time) time.Duration {
	if b.burst == 0 {
		return 0
	}
	b.settle(now)
	return max(0, b.spent+b.refill-time.Duration(b.burst)*b.refill)
}

// spend takes one; ok is false when there is none.
func (b *budget) spend(now time.Time) (ok bool) {
	if b.wait(now) > 0 {
		return false
	}
	b.spent += b.refill
	return true
}
