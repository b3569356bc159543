package explain

import (
	"errors"
	"time"

	"fleet.nationtech.io/eventlog"
	"fleet.nationtech.io/projections/fleet"
	"fleet.nationtech.io/projections/rollout"
	"fleet.nationtech.io/projections/timeline"
)

// Question is what is to be explained: a device, and one Deployment on it or all.
type Question struct {
	Device string
	// Deployment may lack its namespace, where the log knows one of the name; the
	// zero Key asks for the device alone.
	Deployment fleet.Key
	// Fleet gives the whole fleet at the moment that the answer is about. It is asked
	// for where what a device waits for depends on others: their batch, a budget. nil:
	// only what the log says of the device is known.
	Fleet func() (*fleet.View, error)
	// At is that moment by the log's clock; zero: the end of what was read.
	At time.Time
}

// Subjects matches all that an answer wants of the log.
func (q Question) Subjects() []string {
	const any1 = eventlog.Wildcard
	out := timeline.DeviceSubjects(q.Device)
	if q.Deployment.Name == "" {
		return append(out, eventlog.FamilySubjects(eventlog.FamilyDeployment))
	}
	// Others of the name may hold the place.
	return append(out, eventlog.DeploymentSubject(any1, q.Deployment.Name), eventlog.RequestSubject(any1, any1, q.Deployment.Name))
}

// Errors of a question that the log cannot answer.
var (
	ErrUnknownDevice     = errors.New("the log knows no such device")
	ErrUnknownDeployment = errors.New("the log knows no such Deployment")
	ErrAmbiguous         = errors.New("more than one namespace has a Deployment of the name")
)

// State is how a device stands, by itself or to one Deployment: a word with one
// predicate, see verdicts.
type State string

// Explanation is why a device is in its state.
type Explanation struct {
	Device     string            `json:"device"`
	Namespace  string            `json:"namespace,omitempty"`
	Deployment string            `json:"deployment,omitempty"`
	At         timeline.Position `json:"at"` // the last event that was read
	State      State             `json:"state"`
	Reason     string            `json:"reason,omitempty"`
	Summary    Sentence          `json:"summary"`
	Chain      []Sentence        `json:"chain"` // from the first cause to the last effect
	Next       []Sentence        `json:"next"`
	// Waits is the first thing that the device waits for in the Deployment's rollout.
	Waits *rollout.Wait `json:"waits,omitempty"`
	// Deployments are those that are on the device, were, or are to be; only of a
	// device alone. Elsewhere are the others, which do not match it.
	Deployments []Standing `json:"deployments,omitempty"`
	Elsewhere   []Standing `json:"elsewhere,omitempty"`
}

// Standing is how one Deployment stands on the device.
type Standing struct {
	Namespace  string   `json:"namespace,omitempty"`
	Deployment string   `json:"deployment"`
	State      State    `json:"state"`
	Reason     string   `json:"reason,omitempty"`
	Summary    Sentence `json:"summary"`
}

// Sentence is a statement and the event that proves it. A statement that there is
// nothing cites the last event of which that is known: Type is empty then.
type Sentence struct {
	Text     string        `json:"text"`
	Sequence uint64        `json:"sequence"`
	Type     eventlog.Type `json:"type,omitempty"`
	Time     time.Time     `json:"time"`
	// Because is the event that this one names as its cause.
	Because uint64 `json:"because,omitempty"`
}

// mark is an event that an explanation may cite.
type mark struct {
	timeline.Position
	kind  eventlog.Type
	cause string // the id of the event that it names as its cause
	at    time.Time
}

func markOf(r timeline.Record) *mark {
	return &mark{Position: timeline.PositionOf(r), kind: r.Type, cause: r.CausationID, at: r.At}
}

// cite makes a sentence that an event proves.
func (m *mark) cite(text string) Sentence {
	return Sentence{Text: text, Sequence: m.Sequence, Type: m.kind, Time: m.at.UTC()}
}
