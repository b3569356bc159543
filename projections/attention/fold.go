package attention

import (
	"fmt"
	"time"
)

// Fold is how far an operator has folded the log: the replica that answered, whether it leads
// or not.
type Fold struct {
	Sequence uint64 // of the last event that it has folded; 0: none of this log
	// Lacks is the first event that it has not folded, and Since when the log recorded that; 0:
	// it had all when it was asked.
	Lacks uint64
	Since time.Time
	// Refused is why it answers no device and does not say how far it is; empty: it does.
	Refused string
}

// How old an event may be that an operator has not folded. An operator folds an event within
// milliseconds; one that takes longer than FoldPatience does not keep up, and one that takes
// longer than FoldAlarm decides by the past. The alert FleetOperatorBehind has the same minute.
const (
	FoldPatience = 10 * time.Second
	FoldAlarm    = time.Minute
)

// Lag is the age of the oldest event that the operator has not folded, at a time by the
// servers' clock; 0 where it has all.
func (f Fold) Lag(at time.Time) time.Duration {
	if f.Lacks == 0 {
		return 0
	}
	return max(0, at.Sub(f.Since))
}

// Severity is how urgent the lag is at a time by the servers' clock; 0 where it is not.
func (f Fold) Severity(at time.Time) Severity {
	switch lag := f.Lag(at); {
	case lag > FoldAlarm:
		return Critical
	case lag > FoldPatience:
		return Warning
	}
	return 0
}

// FoldRemedy says what a person does about an operator that is behind.
const FoldRemedy = "look at the operators' logs, CPU and connections to NATS; restart one that stands still"

// fold is about an operator that does not answer, or is behind the log.
func (l *list) fold() {
	if l.facts.NoOperator {
		l.add(Item{
			Kind: OperatorSilent, Severity: Critical, Title: "no operator answers",
			Reason:  "none says how far it has folded the log, so nothing is decided; devices run on with what they have: look whether an operator runs, and at its connection to the servers",
			Command: "fleetctl doctor",
		})
	}
	f := l.facts.Fold
	if f == nil {
		return
	}
	severity := f.Severity(l.now)
	if severity == 0 {
		return
	}
	reason := fmt.Sprintf("it has folded the log up to event %d, and event %d was recorded %s ago", f.Sequence, f.Lacks, span(f.Lag(l.now)))
	if severity == Critical {
		reason += ", so it decides by the past, or not at all"
	}
	l.add(Item{
		Kind: OperatorBehind, Severity: severity, Since: f.Since, Title: "an operator is behind the event log",
		Reason: reason + ": " + FoldRemedy, Command: "fleetctl doctor",
	})
}
