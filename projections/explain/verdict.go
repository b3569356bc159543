package explain

import (
	"errors"
	"fmt"

	"fleet.nationtech.io/eventlog/score"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/selectors"
)

// States of a Deployment on a device. The predicate of each is the rule of its
// name; the first that holds is the answer.
const (
	StateUnknown          State = "Unknown"          // the device reports what the log never assigned
	StateNameConflict     State = "NameConflict"     // it matches, and another of its name has the place
	StateWithdrawing      State = "Withdrawing"      // withdrawn, and the device still reports it
	StateEnded            State = "Ended"            // deleted, and off the device
	StateNotMatched       State = "NotMatched"       // its selector does not select the device
	StateOrphaned         State = "Orphaned"         // its CR is gone, so it is assigned to nobody any more
	StateHeldBack         State = "HeldBack"         // it matches, and its rollout does not give it to the device yet
	StateNotPlaced        State = "NotPlaced"        // it matches, and the operator has not assigned it yet
	StateCutOff           State = "CutOff"           // assigned, and the device may not connect to hear of it
	StateWaitingForDevice State = "WaitingForDevice" // assigned, and the device is offline and has not heard of it
	StateUnanswered       State = "Unanswered"       // assigned, and the device has not answered yet
	StateFailed           State = "Failed"           // updated, and Failed
	StateRunning          State = "Running"          // updated, and Running
	StatePending          State = "Pending"          // updated, and neither
)

// verdict is how a Deployment stands on a device, and what comes next.
type verdict struct {
	state   State
	reason  string // the device's own, or the operator's
	summary Sentence
	next    []Sentence
}

// States lists what a Deployment's State on a device can be, in the order in
// which the rulings are tried.
func States() []State {
	var out []State
	for _, r := range rules() {
		out = append(out, r.state)
	}
	return out
}

// rule is a state with its predicate.
type rule struct {
	state State
	holds func(placement) bool
	say   func(placement) verdict
}

// rules are tried in order; the last holds always.
func rules() []rule {
	return []rule{
		{StateDecommissioned, func(c placement) bool { return c.dev.Decommissioned }, decommissioned},
		{StateUnknown, func(c placement) bool {
			return c.p != nil && c.p.Desired.Sequence == 0 && c.p.Reported.Sequence > 0 && !c.match
		}, unknown},
		{StateWithdrawing, func(c placement) bool {
			return c.withdrawn() && c.p.Reported.Sequence > 0 && (c.ended() || !c.match)
		}, withdrawing},
		{StateEnded, func(c placement) bool { return c.ended() && !c.assigned() }, ended},
		{StateNotMatched, func(c placement) bool { return !c.assigned() && !c.match }, notMatched},
		{StateNameConflict, func(c placement) bool { _, other := c.holder(); return other }, nameConflict},
		{StateOrphaned, func(c placement) bool { return !c.assigned() && c.orphaned() }, orphaned},
		{StateHeldBack, func(c placement) bool { return !c.assigned() && c.heldBack() }, heldBack},
		{StateNotPlaced, func(c placement) bool { return !c.assigned() }, notPlaced},
		{StateCutOff, func(c placement) bool { return !c.p.Answered() && c.dev.Access != nil }, accessRevoked},
		{StateWaitingForDevice, func(c placement) bool { return !c.p.Answered() && c.offline() }, waitingForDevice},
		{StateUnanswered, func(c placement) bool { return !c.p.Answered() }, unanswered},
		{StateFailed, func(c placement) bool { return c.p.Failed() }, failing},
		{StateRunning, func(c placement) bool { return c.p.Succeeded() }, running},
		{StatePending, func(placement) bool { return true }, pending},
	}
}

// judge gives the verdict of the first ruling that holds.
func judge(c placement) verdict {
	for _, r := range rules() {
		if r.holds(c) {
			v := r.say(c)
			v.state = r.state
			v.next = append(v.next, c.besides()...)
			return v
		}
	}
	return verdict{} // never: the last holds always
}

// besides is what comes next beside the state itself.
func (c placement) besides() []Sentence {
	if !c.assigned() {
		return nil
	}
	var out []Sentence
	switch {
	case c.ended():
		out = append(out, c.citing(c.spec.turned, "the operator withdraws it: "+c.name()+" was deleted"))
	case c.orphaned() && c.spec.asked != nil:
		out = append(out, c.citing(c.spec.asked, "the operator withdraws it, as "+c.spec.askedBy+" asked"))
	case c.orphaned():
		out = append(out, c.citing(c.spec.turned, "it stays as it is until its custom resource is applied again, or until somebody withdraws it: fleetctl withdraw deployment/"+c.key.Name+" -n "+c.key.Namespace))
	case !c.match && c.labels != nil:
		out = append(out, c.citing(c.labels, "the operator withdraws it: "+c.mismatch()))
		if w := c.wait(); w.Kind != rollout.WaitNothing && w.Kind != rollout.WaitOperator {
			out = append(out, c.waiting(w))
		}
	case c.d != nil && c.spec.now != nil:
		out = append(out, c.nextOfRollout()...)
	}
	if c.p.Answered() && c.dev.Access != nil {
		out = append(out, c.citing(c.access, "what it does from now on is not heard until its access is allowed again"))
	} else if c.p.Answered() && c.offline() {
		out = append(out, c.citing(c.presence, "it is offline: it goes on by itself, and reports once it is back"))
	}
	return out
}

func decommissioned(c placement) verdict {
	return verdict{
		summary: c.citing(c.gone, c.id+" was decommissioned"),
		next:    []Sentence{c.citing(c.gone, "nothing is assigned to it")},
	}
}

func unknown(c placement) verdict {
	return verdict{
		reason:  c.marks.said.reason,
		summary: c.citing(c.marks.latest, c.id+" reports "+c.name()+", which this log never assigned to it"),
		next:    []Sentence{c.citing(c.marks.latest, "nothing: what the log never knew is left alone; apply a Deployment of the name that matches to take it over")},
	}
}

func withdrawing(c placement) verdict {
	v := verdict{reason: c.marks.said.reason, summary: c.citing(c.marks.desired, c.name()+" was withdrawn from "+c.id+", which has not removed it yet")}
	switch {
	case c.dev.Access != nil:
		v.next = []Sentence{c.citing(c.access, "it cannot hear of it: its access is revoked")}
	case c.offline():
		v.next = []Sentence{c.citing(c.presence, "it removes it once it is back online")}
	default:
		v.next = []Sentence{c.citing(c.marks.desired, "the agent removes its containers and then says that they are gone; what is still reported after 30 s is withdrawn again")}
	}
	return v
}

func ended(c placement) verdict {
	return verdict{
		summary: c.citing(c.spec.turned, c.name()+" was deleted"),
		next:    []Sentence{c.citing(c.spec.turned, "nothing; applied again, it goes on at the next revision")},
	}
}

func notMatched(c placement) verdict {
	if c.spec.now == nil {
		return verdict{summary: c.nothing("nothing of " + c.name() + " is known that could match")}
	}
	if c.labels == nil {
		return verdict{
			summary: c.nothing("no labels of " + c.id + " are in the log yet, so nothing matches it"),
			next:    []Sentence{c.nothing("the operator makes its Device from what it reports, and then looks which selectors match; is an operator running?")},
		}
	}
	v := verdict{summary: c.citing(c.labels, c.mismatch())}
	v.next = []Sentence{c.citing(&c.spec.now.mark, "nothing, until the labels of "+c.id+" or the selector "+selectors.SelectorText(c.spec.now.spec.Selector)+" change")}
	return v
}

func nameConflict(c placement) verdict {
	holder, _ := c.holder()
	return verdict{
		summary: c.citing(c.marks.assigned, c.name()+" matches "+c.id+", but "+holder.String()+" holds the name there"),
		next:    []Sentence{c.citing(c.marks.assigned, "nothing, until "+holder.String()+" is withdrawn from "+c.id+": rename one of them, or make their selectors disjoint")},
	}
}

func orphaned(c placement) verdict {
	return verdict{
		summary: c.citing(c.spec.turned, c.name()+" is orphaned, so it is assigned to no further device"),
		next:    []Sentence{c.citing(c.spec.turned, "applied again, it is adopted, and assigned to "+c.id)},
	}
}

func heldBack(c placement) verdict {
	w := c.wait()
	why := c.waiting(w)
	next := why
	next.Text = "nothing, until that is over"
	if w.Kind == rollout.WaitRefused || w.Kind == rollout.WaitPaused {
		next.Text = "nothing, until a person lets the rollout go on or another revision is applied"
	}
	if w.Kind == rollout.WaitValue || w.Kind == rollout.WaitValueInvalid {
		next.Text = "nothing, until the labels of " + c.id + " change or another revision is applied"
	}
	why.Text = c.name() + " matches " + c.id + ", and is not assigned there: " + why.Text
	return verdict{reason: string(w.Kind), summary: why, next: []Sentence{next}}
}

// notPlaced tells of a score that goes to no device by the list that the operator has, too.
func notPlaced(c placement) verdict {
	refusal := (*score.Refusal)(nil)
	if c.d != nil && errors.As(score.CheckAuthored(c.d.Spec.Score), &refusal) {
		why := "its score is invalid: " + refusal.Message
		if refusal.Reason == score.ReasonUnsupportedScore { // whose words are an agent's
			why = "the type of its score is not known"
		}
		return verdict{
			reason:  refusal.Reason,
			summary: c.citing(&c.spec.now.mark, c.name()+" matches "+c.id+", and goes to no device: "+why),
			next:    []Sentence{c.citing(&c.spec.now.mark, "nothing, until the score is another one; what is wrong: fleetctl get deployment "+c.key.Name+" -n "+c.key.Namespace+" -o wide")},
		}
	}
	return verdict{
		summary: c.citing(&c.spec.now.mark, c.name()+" matches "+c.id+", and the operator has not assigned it yet"),
		next:    []Sentence{c.citing(&c.spec.now.mark, "the operator assigns it; if it does not, the condition Ready says why: fleetctl get deployment "+c.key.Name+" -n "+c.key.Namespace+" -o wide")},
	}
}

func accessRevoked(c placement) verdict {
	return verdict{
		reason:  c.dev.Access.Reason,
		summary: c.citing(c.access, fmt.Sprintf("%s cannot hear of revision %d: its access is revoked", c.id, c.p.Desired.Revision)),
		next:    []Sentence{c.citing(c.access, "it syncs once its access is allowed again; it runs what it last had")},
	}
}

func waitingForDevice(c placement) verdict {
	return verdict{
		summary: c.citing(c.presence, fmt.Sprintf("%s is offline and has not heard of revision %d", c.id, c.p.Desired.Revision)),
		next:    []Sentence{c.citing(c.marks.desired, "it waits for the device: back online, it asks for all that it should run, and gets it then")},
	}
}

func unanswered(c placement) verdict {
	v := verdict{summary: c.citing(c.marks.desired, fmt.Sprintf("%s has not answered to revision %d of %s yet", c.id, c.p.Desired.Revision, c.name()))}
	text := "the agent answers within seconds; one that does not is asked by: fleetctl ping " + c.id
	if c.presence == nil {
		text = "it is unknown whether the device is online; once it connects, it asks for its desired state"
	}
	v.next = []Sentence{c.citing(c.marks.desired, text)}
	return v
}

func failing(c placement) verdict {
	a := adviceOn(c.p.Reported.Reason)
	text := c.id + " cannot run " + c.name()
	if a.means != "" {
		text += ": " + a.means
	}
	return verdict{
		reason:  c.p.Reported.Reason,
		summary: c.citing(c.marks.latest, text),
		next:    []Sentence{c.citing(c.marks.latest, a.next), c.citing(c.marks.latest, anotherRevision(c))},
	}
}

// anotherRevision says how soon a device that fails gets another revision. It costs no
// budget, so it waits for its batch at most.
func anotherRevision(c placement) string {
	if c.d != nil && !rollout.Immediate(&c.d.Run) && len(c.d.Run.Batches) > 1 {
		return "another revision reaches it once its batch is open, whatever the budgets, for it fails already: kubectl apply"
	}
	return "another revision is acted upon at once: kubectl apply"
}

func running(c placement) verdict {
	next := "nothing is due; the agent repairs what drifts"
	if c.d != nil && c.wait().Kind != rollout.WaitNothing && !c.specOnDevice() {
		next = "the agent repairs what drifts"
	}
	return verdict{
		summary: c.citing(c.marks.latest, fmt.Sprintf("%s runs revision %d of %s, as it should", c.id, c.p.Desired.Revision, c.name())),
		next:    []Sentence{c.citing(c.marks.latest, next)},
	}
}

func pending(c placement) verdict {
	a := adviceOn(c.p.Reported.Reason)
	text := fmt.Sprintf("%s is at work on revision %d of %s", c.id, c.p.Desired.Revision, c.name())
	if a.means != "" {
		text += ": " + a.means
	}
	return verdict{
		reason:  c.p.Reported.Reason,
		summary: c.citing(c.marks.latest, text),
		next:    []Sentence{c.citing(c.marks.latest, a.next)},
	}
}
