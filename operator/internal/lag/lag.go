// Package lag measures how far the readers of the event log are behind it, as the age of the
// oldest event that a reader has not passed.
//
// All ages are by the clock of the stream's leader: it says when it recorded an event and what
// time it is. Between two looks this machine counts the seconds, by its monotonic clock, so a
// wrong clock of the machine changes nothing.
package lag

import "time"

// Every is how often the log is asked for its end.
const Every = 2 * time.Second

// Patience is after how long without an answer of the log a reader counts as behind: it may lack
// whatever came since.
const Patience = 5 * Every

// Reading is how far a reader of the log is.
type Reading struct {
	LogID    string // of the log that it reads; empty: none yet
	Sequence uint64 // of the last event that it has passed
	// Owed is when the log recorded the oldest event that the reader passed and has not dealt
	// with; zero: there is none.
	Owed time.Time
}

// End is the log as its leader described it.
type End struct {
	LogID       string
	First, Last uint64
	At          time.Time // by the leader's clock
}

// Lacks gives the first event that a reader lacks, whose reading was taken before the log was
// asked; 0 where it has all. A reader of another log, or of a log that lost its tail since, lacks
// all of this one.
func (e End) Lacks(r Reading) uint64 {
	switch {
	case e.Last == 0, r.LogID == e.LogID && r.Sequence == e.Last:
		return 0
	case r.LogID != e.LogID, r.Sequence > e.Last:
		return e.First
	}
	return max(e.First, r.Sequence+1)
}

// Mark is what one look at the log found of a reader.
type Mark struct {
	End      End
	Sequence uint64    // of the first event that the reader lacked; 0: it had all
	Recorded time.Time // when the log recorded that event
}

// Age is how old the oldest event is that a reader has not passed, some time after the look; 0
// where it has all. Where the log has not been asked for longer than Patience, the reader may
// lack what came since, and the age is at least that time.
func (m Mark) Age(r Reading, since time.Duration) time.Duration {
	now := m.End.At.Add(since)
	same := r.LogID == m.End.LogID
	var age time.Duration
	switch {
	case m.Sequence != 0 && (!same || r.Sequence < m.Sequence):
		age = now.Sub(m.Recorded)
	case m.Sequence != 0 && r.Sequence < m.End.Last: // it goes on, and the next look says how far it is
		age = m.End.At.Sub(m.Recorded)
	}
	if !r.Owed.IsZero() {
		age = max(age, now.Sub(r.Owed))
	}
	if since > Patience {
		age = max(age, since)
	}
	return max(0, age)
}
