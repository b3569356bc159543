package rollouttest

import (
	"errors"
	"fmt"
	"slices"

	"fleet.nationtech.io/eventlog"
)

// answer holds the answer to a request against the rows R1 to R8: the oldest one is
// answered first, once, and by the row that holds.
func (l *Laws) answer(c *course, e Event) error {
	if len(c.requests) == 0 || c.requests[0].Sequence != e.Answers {
		return fmt.Errorf("it answers request %d, which is not the oldest open one", e.Answers)
	}
	q := c.requests[0]
	typ, kind, to := l.asked(c, q)
	switch {
	case e.Reason != "Requested" && typ != eventlog.RolloutRequestRefused:
		return fmt.Errorf("it answers %+v, and its reason is %q", q, e.Reason)
	case typ != e.Type || kind != "" && kind != e.Kind:
		return fmt.Errorf("%s %s answers %+v; its row says %s %s", e.Type, e.Kind, q, typ, kind)
	case kind != "" && to.Content != "" && e.Target != to:
		return fmt.Errorf("%s goes to %+v, and was asked to go to %+v", q.Verb, e.Target, to)
	case e.Full != (typ == eventlog.RolloutPromoted && q.Full):
		return fmt.Errorf("full is %v, and %v was asked for", e.Full, q.Full)
	}
	return nil
}

// asked is the event that a request is answered with, by the guards of R1 to R8.
func (l *Laws) asked(c *course, q Request) (typ eventlog.Type, kind string, to Target) {
	const refused = eventlog.RolloutRequestRefused
	update := c.spec.kind()
	spec := Target{Revision: c.spec.Revision, Content: c.spec.Content}
	run := q.Revision == c.spec.Revision && q.Run == c.run
	batch := run && q.Batch == c.batch
	// A rollback is neither promoted (R3) nor aborted (R4).
	onItsWay := c.going() && c.kind != eventlog.RunRollback
	switch {
	case !c.applied:
		return refused, "", to // "An open request of a Deployment whose CR is gone is refused"
	case q.Verb == eventlog.RequestPause && !c.hold:
		return eventlog.RolloutPaused, "", to
	case !run:
	case (q.Verb == eventlog.RequestResume || q.Verb == eventlog.RequestRetryFailed) && batch && (c.hold || c.paused):
		return eventlog.RolloutResumed, "", to
	case q.Verb == eventlog.RequestPromote && batch && onItsWay && !c.wantsFourEyes(q.Full):
		return eventlog.RolloutPromoted, "", to
	case q.Verb == eventlog.RequestAbort && onItsWay:
		return eventlog.RolloutAborted, "", to
	case q.Verb == eventlog.RequestUndo && q.ToRevision == 0 && c.refused == c.spec.Content && c.target.Content != c.spec.Content:
		return eventlog.RolloutStarted, update, spec // R6: the undo of an undo
	case q.Verb == eventlog.RequestUndo:
		// "Without N: stable if the run did not complete, else the one completed before".
		to = c.stable
		if c.end == eventlog.RolloutCompleted {
			to = c.before
		}
		if q.ToRevision > 0 {
			to = Target{}
			if i := slices.IndexFunc(c.contents, func(t Target) bool { return t.Revision == q.ToRevision }); i >= 0 {
				to = c.contents[i]
			}
		}
		if to.Content != "" && to.Content != c.spec.Content {
			return eventlog.RolloutStarted, eventlog.RunRollback, to
		}
	case q.Verb == eventlog.RequestRetry && c.refused == c.spec.Content:
		return eventlog.RolloutStarted, update, spec
	case q.Verb == eventlog.RequestRestart && (c.end == eventlog.RolloutCompleted || c.end == eventlog.RolloutRolledBack ||
		c.end == eventlog.RolloutAborted && c.kind == eventlog.RunRestart):
		to = c.target
		to.Restart++
		return eventlog.RolloutStarted, eventlog.RunRestart, to
	}
	return refused, "", Target{}
}

// wantsFourEyes says whether the open batch, or with full a later one, wants a second
// person, whom only the API server can tell from the first.
func (c *course) wantsFourEyes(full bool) bool {
	open := *c
	for ; open.batch <= len(c.plan); open.batch++ {
		if open.settings().FourEyes {
			return true
		}
		if !full {
			return false
		}
	}
	return false
}

// annotated: section 11, "promote … with fourEyes by Kubernetes alone": another person
// than the author, both by the API server's stamps, of this revision, run and batch.
func (l *Laws) annotated(c *course, e Event) error {
	a := l.annotations[e.Deployment]
	switch {
	case !c.applied || !c.going() || c.kind == eventlog.RunRollback:
		return errors.New("R3: no update is on its way")
	case a.Revision != c.spec.Revision || a.Run != c.run || a.Batch != c.batch || e.Batch != c.batch:
		return fmt.Errorf("nobody let batch %d of run %d go on: %+v", c.batch, c.run, a)
	case c.settings().FourEyes && (a.By == "" || a.Author == "" || a.By == a.Author):
		return fmt.Errorf("four eyes: %+v are not two persons", a)
	}
	return nil
}
