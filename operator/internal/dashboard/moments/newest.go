package moments

import (
	"sync"

	"fleet.nationtech.io/eventlog"
)

// keptNewest is of how many events at least the subjects are kept.
const keptNewest = 4096

// newest has the subjects of the last events that were folded. So a page of now finds the events
// before it without a question to the log, which would look at the last event of each of the
// thousands of subjects that one filter covers.
type newest struct {
	keep int

	mu    sync.Mutex
	after uint64 // all events after this one are here, up to the last one
	last  uint64
	on    []place // in the log's order
}

// place is where in the log an event is, and on which subject.
type place struct {
	sequence uint64
	subject  string
}

// add adds the next event of the log.
func (n *newest) add(e *eventlog.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.on) == 0 {
		n.after = e.Sequence - 1
	}
	n.on, n.last = append(n.on, place{e.Sequence, e.Subject}), e.Sequence
	if len(n.on) >= 2*n.keep {
		dropped := len(n.on) - n.keep
		n.after = n.on[dropped-1].sequence
		n.on = n.on[:copy(n.on, n.on[dropped:])]
	}
}

// around gives the events around a sequence on some subjects; false where they are not all here.
// After is 0 too where it comes later than the last event.
func (n *newest) around(at uint64, subjects []string) (found Neighbours, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.on) == 0 || at <= n.after || at > n.last {
		return found, false
	}
	for i := len(n.on) - 1; i >= 0; i-- {
		p := n.on[i]
		if !coversAny(subjects, p.subject) {
			continue
		}
		switch {
		case p.sequence > at:
			found.After = p.sequence
		case found.Current == 0:
			found.Current = p.sequence
		default:
			found.Before = p.sequence
			return found, true
		}
	}
	return found, false
}

func coversAny(filters []string, subject string) bool {
	for _, f := range filters {
		if eventlog.Covers(f, subject) {
			return true
		}
	}
	return false
}
