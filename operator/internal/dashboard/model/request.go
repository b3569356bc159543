package model

import (
	"fmt"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/operator/resource"
	"fleet.nationtech.io/projections/fleet"
)

// States of a request.
const (
	RequestOpen      = "open"      // the operator has not answered it
	RequestDone      = "done"      // the operator did it
	RequestRefused   = "refused"   // the operator refused it
	RequestOvertaken = "overtaken" // something else came first, and the operator answers it no more
)

// Request is what a person asked of the operator, and what became of it.
type Request struct {
	Sequence  uint64    `json:"request"` // its event
	Verb      string    `json:"verb"`
	Full      bool      `json:"full,omitempty"`
	By        string    `json:"by"`
	Reason    string    `json:"reason,omitempty"`
	Time      time.Time `json:"time"` // when the log got it
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name,omitempty"`   // of the Deployment that it is about
	Device    string    `json:"device,omitempty"` // that it is about

	State   string        `json:"state"`
	Answer  uint64        `json:"answer,omitempty"` // the event that answers it, or came first
	Event   eventlog.Type `json:"event,omitempty"`  // that event's type
	Why     string        `json:"why,omitempty"`    // the reason of a refusal, as a word
	Message string        `json:"message"`

	id string // of its event, which the events that answer it name as their cause
}

// RequestOf reads a request's event; false where an event is none.
func RequestOf(e eventlog.Event) (Request, bool) {
	if e.Type != eventlog.RequestMade || e.Address.Family != eventlog.FamilyRequest {
		return Request{}, false
	}
	q, err := eventlog.Payload[eventlog.Request](e)
	if err != nil {
		return Request{}, false
	}
	about := Subject{Kind: OfRollout, Key: fleet.Key{Namespace: e.Address.Namespace, Name: e.Address.Name}}
	if e.Address.Device != "" {
		about = Subject{Kind: OfDevice, Device: e.Address.Device}
	}
	out := NewRequest(e.Sequence, about, e.Address.User, q, e.Recorded)
	out.id = e.ID
	return out, true
}

// NewRequest is a request that the log has at a sequence since a time, and that nobody has answered.
func NewRequest(sequence uint64, about Subject, by string, q eventlog.Request, at time.Time) Request {
	return Request{
		Sequence: sequence, Verb: q.Verb, Full: q.Full, By: by, Reason: q.Reason, Time: at.UTC(),
		Namespace: about.Key.Namespace, Name: about.Key.Name, Device: about.Device,
		State: RequestOpen, Message: "The operator has not answered yet. The request stays in the log: the next operator answers it, or refuses it where it no longer fits.",
	}
}

// Subjects are those of the events that answer the request.
func (r *Request) Subjects() []string {
	if r.Device == "" {
		return []string{eventlog.DeploymentSubject(r.Namespace, r.Name)}
	}
	return []string{eventlog.AccessSubject(r.Device), eventlog.DeviceSubject(r.Device)}
}

// About is what the request is about, in words.
func (r *Request) About() string {
	if r.Device == "" {
		return r.Key().String()
	}
	return "device " + r.Device
}

// Key is the Deployment that the request is about.
func (r *Request) Key() fleet.Key { return fleet.Key{Namespace: r.Namespace, Name: r.Name} }

// Take takes over a later event on the request's subjects. It says whether that settles the
// request.
func (r *Request) Take(e eventlog.Event) bool {
	if r.Device == "" {
		r.takeOfDeployment(e)
	} else {
		r.takeOfDevice(e)
	}
	return r.State != RequestOpen
}

func (r *Request) settle(e eventlog.Event, state, message string) {
	r.State, r.Answer, r.Event, r.Message = state, e.Sequence, e.Type, message
}

func (r *Request) takeOfDeployment(e eventlog.Event) {
	switch {
	case e.Type == eventlog.DeploymentDeleted && r.Verb == eventlog.RequestWithdraw:
		r.settle(e, RequestDone, fmt.Sprintf("%s is withdrawn (event %d); devices that are offline follow when they return", r.Key(), e.Sequence))
		return
	case e.Type == eventlog.DeploymentDeleted:
		r.settle(e, RequestOvertaken, fmt.Sprintf("%s was deleted meanwhile (event %d)", r.Key(), e.Sequence))
		return
	case e.Type == eventlog.DeploymentAdopted && r.Verb == eventlog.RequestWithdraw:
		r.settle(e, RequestOvertaken, fmt.Sprintf("%s was adopted meanwhile (event %d): its object is there again", r.Key(), e.Sequence))
		return
	}
	answer, ok := resource.RolloutAnswer(e, r.Sequence)
	switch {
	case !ok:
	case e.Type == eventlog.RolloutRequestRefused:
		r.settle(e, RequestRefused, answer.Message)
		r.Why = answer.Reason
	default:
		text, _ := resource.RolloutAnswerText(r.Key(), e, answer)
		r.settle(e, RequestDone, text)
	}
}

func (r *Request) takeOfDevice(e eventlog.Event) {
	mine, access := e.CausationID == r.id, e.Type == eventlog.AccessRevoked || e.Type == eventlog.AccessAllowed
	switch {
	case e.Type == eventlog.DeviceDecommissioned && r.Verb == eventlog.RequestDecommission:
		r.settle(e, RequestDone, fmt.Sprintf("%s is decommissioned (event %d); where it is alive, it removes its containers, now or when it connects again", r.Device, e.Sequence))
	case e.Type == eventlog.AccessAllowed && r.Verb == eventlog.RequestDecommission:
		r.settle(e, RequestOvertaken, fmt.Sprintf("%s was allowed again meanwhile (event %d), which takes the request back", r.Device, e.Sequence))
	case e.Type == eventlog.AccessRevoked && mine:
		r.settle(e, RequestDone, fmt.Sprintf("the access of %s is revoked (event %d); the auth callout ends its connections within 2 s. Deactivate its user at the identity provider too", r.Device, e.Sequence))
	case e.Type == eventlog.AccessAllowed && mine:
		r.settle(e, RequestDone, fmt.Sprintf("%s is allowed (event %d); a decommissioned device becomes one of the fleet with its next report of itself, which its agent makes when it starts", r.Device, e.Sequence))
	case access && r.Verb != eventlog.RequestDecommission:
		r.settle(e, RequestOvertaken, fmt.Sprintf("another event about the access of %s came first (event %d, %s)", r.Device, e.Sequence, e.Type))
	}
}

// Closed says whether a view has folded the request and does not keep it open: where no event
// has answered it by then, the operator never will.
func (r *Request) Closed(v *fleet.View) bool { return v.Sequence >= r.Sequence && !r.openIn(v) }

// openIn says whether a view keeps the request open.
func (r *Request) openIn(v *fleet.View) bool {
	is := func(q *fleet.Request) bool { return q != nil && q.Mark.Sequence == r.Sequence }
	if r.Device != "" {
		d := v.Devices[r.Device]
		return d != nil && (is(d.AccessRequest) || is(d.Leaving))
	}
	d := v.Deployments[r.Key()]
	if d == nil {
		return false
	}
	for i := range d.Requests {
		if is(&d.Requests[i]) {
			return true
		}
	}
	return is(d.Withdraw)
}

// Overtake says that the operator will not answer the request.
func (r *Request) Overtake() {
	r.State, r.Message = RequestOvertaken, "There was nothing to do: it was so already, or another request came first."
}
